// /healthz, /livez, /readyz and /metrics of a component that serves nothing else.
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { issue } from "../platform/certificate.ts";
import { UsageError } from "./flags.ts";

const DAY = 86_400_000;

export interface HealthOptions {
  /** What sets the address, for the error when it is taken. */
  flag: string;
  host: string;
  /** 0: none is served. */
  port: number;
  /** What keeps the component from being ready. */
  notReady(): string | undefined;
  /** Prometheus text format. */
  metrics?(): string;
  tls?: { cert: string; key: string };
}

const routes = ["/healthz", "/livez", "/readyz"];

/** Throws a UsageError when it can't listen there. */
export function serveHealth(o: HealthOptions): { stop(): Promise<void> } {
  if (o.port === 0) return { stop: async () => {} };
  try {
    const server = listen(o);
    return { stop: () => server.stop(true) };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === "EADDRINUSE" ? "address already in use" : message;
    throw new UsageError(`--${o.flag}: can't listen at ${o.host}:${o.port}: ${why}`);
  }
}

const listen = (o: HealthOptions) =>
  Bun.serve({
    hostname: o.host,
    port: o.port,
    ...(o.tls ? { tls: o.tls } : {}),
    fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === "/metrics" && o.metrics)
        return new Response(o.metrics(), { headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" } });
      if (!routes.includes(pathname)) return new Response("404 page not found\n", { status: 404 });
      const why = pathname === "/livez" ? undefined : o.notReady();
      return why === undefined ? new Response("ok") : new Response(`[-]${why}\n`, { status: 500 });
    },
  });

/** The files' certificate and key, or without files a fresh self-signed one, as upstream's components make. */
export async function servingCertificate(certFile: string, keyFile: string, name: string): Promise<{ cert: string; key: string }> {
  if (certFile && keyFile) return { cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
  const addresses = Object.values(networkInterfaces()).flatMap((a) => (a ?? []).filter((i) => i.family === "IPv4").map((i) => i.address));
  return issue({
    commonName: name,
    notBefore: new Date(Date.now() - DAY),
    notAfter: new Date(Date.now() + 365 * DAY),
    usages: ["serverAuth"],
    hosts: ["localhost", ...addresses],
  });
}
