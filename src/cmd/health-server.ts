// /healthz, /livez, /readyz and /metrics of a component that serves nothing else.
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { UsageError } from "./flags.ts";

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
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const addresses = Object.values(networkInterfaces()).flatMap((a) => (a ?? []).filter((i) => i.family === "IPv4").map((i) => i.address));
  const day = 86_400_000;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    notBefore: new Date(Date.now() - day),
    notAfter: new Date(Date.now() + 365 * day),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.SubjectAlternativeNameExtension([
        { type: "dns", value: "localhost" },
        ...addresses.map((value) => ({ type: "ip" as const, value })),
      ]),
    ],
  });
  const key = x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY");
  return { cert: certificate.toString("pem"), key };
}
