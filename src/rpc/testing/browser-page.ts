// What a page does that the browser test opens: calls over every protocol a
// browser can speak, and a report of how they went.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { KV, Maintenance } from "../gen/etcd/rpc_pb.ts";

declare const location: { search: string };
declare const performance: { getEntriesByType(type: string): { name: string; nextHopProtocol: string }[] };

/** How the calls over one protocol went. */
export interface PageReport {
  key: string;
  tail: string | null;
  error: [code: number, message: string, metadata: string | null];
  streamed: number;
  /** Messages that had come when the rest was still to be sent. */
  early: number;
  canceled: string;
}

const bytes = (text: string) => new TextEncoder().encode(text);
const base = new URLSearchParams(location.search).get("base")!;
const transports = {
  "gRPC-Web": createGrpcWebTransport({ baseUrl: base }),
  "Connect with protobuf": createConnectTransport({ baseUrl: base, useBinaryFormat: true }),
  "Connect with JSON": createConnectTransport({ baseUrl: base }),
};

async function callAll(transport: (typeof transports)["gRPC-Web"]): Promise<PageReport> {
  const kv = createClient(KV, transport);
  const tails: (string | null)[] = [];
  const options = { headers: { "x-ask": "page" }, onTrailer: (t: Headers) => void tails.push(t.get("x-tail")) };
  const answer = await kv.range({ key: bytes("k") }, options);
  const error = ConnectError.from(await kv.range({ key: bytes("error") }).catch((e) => e));
  const maintenance = createClient(Maintenance, transport);
  let [streamed, early] = [0, 0];
  for await (const { blob } of maintenance.snapshot({})) {
    streamed += blob.length;
    // The server sends on when it is told that the first has come.
    if (++early === 1) await kv.range({ key: bytes("go on") });
  }
  const stop = new AbortController();
  let canceled = "";
  try {
    for await (const _ of maintenance.snapshot({}, { signal: stop.signal, headers: { "x-endless": "1" } })) stop.abort();
  } catch (e) {
    canceled = Code[ConnectError.from(e).code]!;
  }
  return {
    key: new TextDecoder().decode(answer.kvs[0]!.key),
    tail: tails[0] ?? null,
    error: [error.code, error.rawMessage, error.metadata.get("x-why")],
    streamed,
    early,
    canceled,
  };
}

const reports: Record<string, unknown> = {};
for (const [name, transport] of Object.entries(transports)) {
  // Chromium breaks off what runs whenever any interface of the machine comes or goes.
  for (let tries = 0; tries < 20; tries++) {
    reports[name] = await callAll(transport).catch((error) => String(error));
    if (!/Failed to fetch|network error/.test(String(reports[name]))) break;
  }
}
const entries = performance.getEntriesByType("resource").filter(({ name, nextHopProtocol }) => name.startsWith(base) && nextHopProtocol);
reports.versions = [...new Set(entries.map(({ nextHopProtocol }) => nextHopProtocol))];
const report = () => fetch("/report", { method: "POST", body: JSON.stringify(reports) });
await report().catch(report);
