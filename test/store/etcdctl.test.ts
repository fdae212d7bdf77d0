// etcdctl says the same of our store as of Debian's etcd, command by command.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { AUTH, KEYS, LEASES, MAINTENANCE, TRANSACTIONS, WATCHES } from "./etcdctl/commands.ts";
import { allServing } from "./support/checks.ts";
import { type Kind, StoreCluster } from "./support/cluster.ts";
import { type Step, type Subject, Terminal } from "./support/etcdctl.ts";

const missing = ["etcd", "etcdctl"].filter((p) => !Bun.which(p));
if (missing.length > 0)
  console.log(`skipped: etcdctl side by side: no ${missing.join(" and no ")} on PATH (Debian packages etcd-server and etcd-client)`);

export function subjectOf(cluster: StoreCluster): Subject {
  const dir = join(cluster.dir, "etcdctl");
  mkdirSync(dir, { recursive: true });
  return { endpoints: cluster.endpoints, peers: cluster.members.map((m) => m.peerUrl), dir };
}

const clusters = new Map<Kind, StoreCluster>();

async function both(steps: readonly Step[]): Promise<{ ours: string; theirs: string }> {
  const [theirs, ours] = await Promise.all(
    (["etcd", "kubun"] as const).map((kind) => new Terminal(subjectOf(clusters.get(kind)!)).transcript(steps)),
  );
  return { ours: ours!, theirs: theirs! };
}

describe.skipIf(missing.length > 0)("etcdctl says of one member what it says of etcd:", () => {
  beforeAll(async () => {
    for (const kind of ["etcd", "kubun"] as const) clusters.set(kind, await StoreCluster.make({ kind, members: 1 }));
    for (const c of clusters.values()) await allServing(c);
  });
  afterAll(async () => {
    for (const c of clusters.values()) await c[Symbol.asyncDispose]();
  });

  for (const group of [KEYS, TRANSACTIONS, WATCHES, LEASES, MAINTENANCE, AUTH]) {
    for (const [name, steps] of Object.entries(group)) {
      test(name, async () => {
        const { ours, theirs } = await both(steps);
        expect(ours).toBe(theirs);
      });
    }
  }
});
