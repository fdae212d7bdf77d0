import { afterAll, beforeAll, expect, test } from "bun:test";
import { issue, type KeyPair } from "../platform/certificate.ts";
import { setLogWriter } from "../platform/log.ts";
import { type TestPki, testPki } from "../testing/certificates.ts";
import { freePort } from "../testing/ports.ts";
import type { Store } from "./mod.ts";
import { Members, until } from "./testing/members.ts";

const lines: string[] = [];
let restore: () => void;
let pki: TestPki;
let members: Members;
let store: Store;
beforeAll(async () => {
  pki = await testPki();
  const server = await pki.issue("server");
  const tls = { ...server, clientCa: pki.ca, requireClientCert: true };
  members = new Members({ tls, peer: { listen: [{ host: "127.0.0.1", port: freePort() }], tls: { ...tls, ca: pki.ca } } } as object);
  store = await members.start("a");
  restore = setLogWriter((line) => lines.push(line));
});
afterAll(async () => {
  restore?.();
  await members?.[Symbol.asyncDispose]();
});

/** Connects as one who shows this, and says something; resolves when the other end has ended it. */
async function knock(port: number, tls: object | false): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const say = (socket: { write(text: string): void }) => socket.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    ...(tls ? { tls: { rejectUnauthorized: false, ...tls } } : {}),
    socket: { open: (s) => void (tls || say(s)), handshake: say, data() {}, close: () => resolve(), error: () => resolve() },
  });
  await promise;
  socket.terminate();
}

const CASES: Record<string, [shows: () => Promise<object | false>, told: string]> = {
  "no certificate": [async () => ({}), "tls: client didn't provide a certificate"],
  "one of another authority": [
    async () => (await testPki()).issue("stranger"),
    "tls: failed to verify client certificate: x509: certificate signed by unknown authority",
  ],
  "one that made itself": [
    async () => mine({ notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 60_000) }),
    "tls: failed to verify client certificate: x509: certificate signed by unknown authority",
  ],
  "no TLS at all": [async () => false, "tls: first record does not look like a TLS handshake"],
};

const mine = (times: { notBefore: Date; notAfter: Date }): Promise<KeyPair> =>
  issue({ commonName: "mine", usages: ["clientAuth"], hosts: ["localhost"], ...times });

for (const [what, [shows, told]] of Object.entries(CASES)) {
  test(`it is told why who shows ${what} is not let in, as client or as member`, async () => {
    const shown = await shows();
    for (const port of [Number(new URL(store.urls[0]!).port), Number(new URL(members.peerUrl("a")).port)]) {
      lines.length = 0;
      await knock(port, shown);
      await until("a line", () => lines.some((l) => l.includes("rejected connection")));
      const line = lines.find((l) => l.includes("rejected connection"))!;
      expect(line).toContain(`error=${JSON.stringify(told)}`);
      expect(line).toMatch(/^W.* remote-addr="127\.0\.0\.1:\d+"/);
    }
  });
}

test("who connects and says nothing, as a probe of the port does, is no line of the log", async () => {
  lines.length = 0;
  const port = Number(new URL(store.urls[0]!).port);
  const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } });
  socket.end();
  // The next one is told of after it.
  await knock(port, {});
  await until("a line", () => lines.length > 0);
  expect(lines.filter((l) => l.includes("rejected"))).toEqual([expect.stringContaining("didn't provide a certificate")]);
});
