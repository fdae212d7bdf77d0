// How syncs and looks at the kernel's table come together, with a program in
// nft's place that can be held up.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SimulatedClock } from "../client/clock.ts";
import { InformerFactory } from "../client/informer.ts";
import { endpointSlices, services } from "../client/resources.ts";
import { MemoryApi } from "../testing/memory-api.ts";
import { Proxy as KubeProxy } from "./mod.ts";
import { service, slice } from "./testing.ts";

/** What was applied last is what is listed; a file hold-list or hold-apply holds either up. */
const program = (dir: string) => `#!/bin/sh
cd ${dir}
case "$*" in
  *"list table"*)
    found=$(cat table); echo "list begins" >> log
    while [ -e hold-list ]; do sleep 0.01; done
    echo "$found";;
  *"nft -f"*)
    echo "apply begins" >> log; cat > next-$$
    while [ -e hold-apply ]; do sleep 0.01; done
    mv next-$$ table; echo "apply ends" >> log;;
esac
`;

const inDefault = { namespace: "default" };
let dir: string;
let api: MemoryApi;
let informers: InformerFactory;
let proxy: InstanceType<typeof KubeProxy>;
let clock: SimulatedClock;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "resync-"));
  const path = join(dir, "nft");
  writeFileSync(path, program(dir), { mode: 0o755 });
  api = new MemoryApi();
  informers = new InformerFactory(api);
  clock = new SimulatedClock();
  proxy = new KubeProxy({
    transport: api,
    informers,
    nodeName: "n1",
    tableName: "t",
    podCidrs: ["10.0.0.0/8"],
    commandPrefix: [path],
    clock,
  });
  const started = proxy.start();
  informers.start();
  await started;
});
afterEach(async () => {
  for (const what of ["list", "apply"] as const) release(what);
  await proxy.stop();
  await informers.stop();
  rmSync(dir, { recursive: true, force: true });
});

const hold = (what: "list" | "apply") => writeFileSync(join(dir, `hold-${what}`), "");
const release = (what: "list" | "apply") => rmSync(join(dir, `hold-${what}`), { force: true });
const table = () => readFileSync(join(dir, "table"), "utf8");
const log = () => readFileSync(join(dir, "log"), "utf8").trim().split("\n");
const metric = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(proxy.metrics.text())?.[1] ?? 0);
const syncs = () => metric("kubeproxy_sync_proxy_rules_duration_seconds_count");
const repairs = () => metric("kubun_proxy_drift_repairs_total");
async function until(what: string, look: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!look()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await Bun.sleep(2);
  }
}

/** Makes a service; the proxy knows of it, and its sync is due in some milliseconds of the clock. */
async function make(name: string, clusterIP: string): Promise<void> {
  const before = metric("kubeproxy_sync_proxy_rules_endpoint_changes_total");
  await api.create({ ...services, ...inDefault }, service(name, { clusterIP, ports: [{ port: 80, protocol: "TCP" }] }));
  await api.create({ ...endpointSlices, ...inDefault }, slice(name, [{ ip: "10.0.0.9" }], [{ port: 80, protocol: "TCP" }]));
  await until("the change is known", () => metric("kubeproxy_sync_proxy_rules_endpoint_changes_total") > before);
}

test("a listing that is older than a sync is not what the next is compared with", async () => {
  hold("list");
  const looking = proxy.resync();
  await until("the list begins", () => log().includes("list begins"));
  await make("a", "10.96.0.1");
  const before = syncs();
  clock.advance(1000);
  await until("the sync has ended", () => syncs() > before);
  release("list");
  await looking;
  await proxy.resync();
  await proxy.resync();
  expect(repairs()).toBe(0);
});

test("whoever asks for a look has the repair that it leads to, also another's", async () => {
  await proxy.resync();
  writeFileSync(join(dir, "table"), "changed by another program");
  hold("list");
  const lists = log().length;
  const looks = [proxy.resync(), proxy.resync()];
  await until("both lists begin", () => log().length === lists + 2);
  hold("apply");
  release("list");
  const seen = looks.map((look) => look.then(table));
  await until("the repair begins", () => log().at(-1) === "apply begins");
  // In this time the second look would come back.
  await Promise.race([...seen, Bun.sleep(200)]);
  release("apply");
  for (const text of await Promise.all(seen)) expect(text).not.toContain("changed by another program");
  expect(repairs()).toBe(1);
});

test("a sync that falls due during a repair comes after it", async () => {
  await proxy.resync();
  writeFileSync(join(dir, "table"), "changed by another program");
  await make("a", "10.96.0.1");
  hold("apply");
  const repair = proxy.resync();
  await until("the repair begins", () => log().at(-1) === "apply begins");
  await make("b", "10.96.0.2");
  clock.advance(1000);
  release("apply");
  await repair;
  clock.advance(1000);
  await until("the second service is there", () => table().includes("10.96.0.2"));
  const applies = log().filter((l) => l.startsWith("apply"));
  expect(applies).toEqual(applies.map((_, i) => (i % 2 === 0 ? "apply begins" : "apply ends")));
});
