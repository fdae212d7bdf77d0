// Debian's etcdctl: what it says of our store and of a real etcd, and its tools.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { sideBySide } from "./etcdctl/side-by-side.ts";
import { tools } from "./etcdctl/tools.ts";
import { allServing } from "./support/checks.ts";
import { StoreCluster } from "./support/cluster.ts";
import { etcdctl, type Program } from "./support/program.ts";

const missing = ["etcd", "etcdctl"].filter((p) => !Bun.which(p));
if (missing.length > 0)
  console.log(`skipped: etcdctl: no ${missing.join(" and no ")} on PATH (Debian packages etcd-server and etcd-client)`);

describe.skipIf(missing.length > 0)("Debian's programs:", () => {
  let measured: StoreCluster;
  let checkPerf: Program;

  beforeAll(async () => {
    measured = await StoreCluster.make({ kind: "kubun", members: 1 });
    await allServing(measured);
    // It takes a minute, whatever it is told; the other tests run meanwhile.
    checkPerf = etcdctl(measured.endpoints[0]!, "check", "perf", "--load=s");
  });
  afterAll(async () => {
    await checkPerf?.[Symbol.asyncDispose]();
    await measured?.[Symbol.asyncDispose]();
  });

  sideBySide();
  tools();

  test("etcdctl check perf gets all its answers", async () => {
    const { out } = await checkPerf.ended();
    expect(out).toMatch(/PASS: Throughput is \d+ writes\/s/);
    expect(out).not.toContain("Too many errors");
  });
});
