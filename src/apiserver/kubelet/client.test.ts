import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pki } from "../../cmd/cluster/pki.ts";
import { servingCertificate } from "../../cmd/health-server.ts";
import { KubeletClient } from "./client.ts";

const dir = mkdtempSync(join(tmpdir(), "kubun-kubelet-client-"));
let pki: Pki;
const servers: ReturnType<typeof Bun.serve>[] = [];
let selfSigned: { origin: string; path: string };
let signed: { origin: string; path: string };

function serve(tls: { cert: string; key: string }) {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", tls, fetch: () => new Response("a log") });
  servers.push(server);
  return { origin: `https://127.0.0.1:${server.port}`, path: "/containerLogs/default/p/c" };
}

beforeAll(async () => {
  pki = await Pki.open(dir);
  selfSigned = serve(await servingCertificate("", "", "node"));
  signed = serve(await pki.leaf({ name: "kubelet", commonName: "system:node:n", hosts: ["127.0.0.1"] }));
});
afterAll(async () => {
  for (const s of servers) await s.stop(true);
  rmSync(dir, { recursive: true, force: true });
});

test("without an authority any certificate of a kubelet will do", async () => {
  const client = new KubeletClient({ tls: {} });
  for (const at of [selfSigned, signed]) expect(await (await client.get(at)).text()).toBe("a log");
});

test("with an authority only certificates that it signed", async () => {
  const client = new KubeletClient({ tls: { ca: pki.ca.cert } });
  expect(await (await client.get(signed)).text()).toBe("a log");
  expect((await client.get(selfSigned).catch((e: unknown) => e)) as Error).toMatchObject({ code: 500 });
});
