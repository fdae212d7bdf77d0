// What is answered over plain HTTP: on the client port beside the services, and
// on --listen-metrics-urls.
import { serverTls } from "../../rpc/http2/tls.ts";
import type { Address, TlsServerOptions } from "../../rpc/types.ts";
import { VERSION } from "../version.ts";
import { health, probe } from "./health.ts";
import { metricsText, type Scrape } from "./metrics.ts";

type Answer = (scrape: Scrape, query: URLSearchParams) => Response | Promise<Response>;

const PATHS: Record<string, Answer> = {
  "/health": ({ member }, query) => health(member, query),
  "/version": ({ member }) => {
    const { clusterVersion } = member.state;
    return Response.json({ etcdserver: VERSION, etcdcluster: clusterVersion, storage: clusterVersion });
  },
  "/metrics": (scrape) => new Response(metricsText(scrape), { headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" } }),
};

const notFound = () => new Response("404 page not found\n", { status: 404, headers: { "content-type": "text/plain; charset=utf-8" } });

export async function answerHttp(scrape: Scrape, request: Request): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url);
  const answer = PATHS[pathname];
  if (answer) {
    if (request.method === "GET") return answer(scrape, searchParams);
    return new Response("Method Not Allowed\n", { status: 405, headers: { allow: "GET" } });
  }
  return (await probe(scrape.member, pathname, searchParams)) ?? notFound();
}

/** Serves all of it, over HTTP or HTTPS, until the server is stopped. */
export function serveHttp(scrape: Scrape, address: Address, tls?: TlsServerOptions) {
  const fetch = (request: Request) => answerHttp(scrape, request);
  const secure = tls ? { tls: serverTls(tls) } : {};
  return "unix" in address
    ? Bun.serve({ unix: address.unix, fetch, ...secure })
    : Bun.serve({ hostname: address.host, port: address.port, fetch, ...secure });
}
