// etcdctl says the same of our store as of Debian's etcd, command by command.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { allServing, leaderOf } from "../support/checks.ts";
import { type Kind, StoreCluster } from "../support/cluster.ts";
import { type Step, type Subject, Terminal } from "../support/etcdctl.ts";
import { idOf, mayChange, moveLeader } from "../support/members.ts";
import { AUTH, CLUSTER, KEYS, LEASES, MAINTENANCE, QUOTA, TRANSACTIONS, WATCHES } from "./commands.ts";

function subjectOf(cluster: StoreCluster, ids?: bigint[]): Subject {
  const dir = join(cluster.dir, "etcdctl");
  mkdirSync(dir, { recursive: true });
  return { endpoints: cluster.endpoints, peers: cluster.members.map((m) => m.peerUrl), dir, ids };
}

const KINDS: Kind[] = ["etcd", "kubun"];

async function clusters(members: number, ...flags: string[]): Promise<StoreCluster[]> {
  // What passwords cost would be most of the time.
  const made = await Promise.all(KINDS.map((kind) => StoreCluster.make({ kind, members, flags: ["--bcrypt-cost", "4", ...flags] })));
  await Promise.all(made.map(allServing));
  return made;
}

/** Runs the steps at both, and fails where what they say differs. */
async function compare(subjects: readonly Subject[], steps: readonly Step[]): Promise<void> {
  const [theirs, ours] = await Promise.all(subjects.map((s) => new Terminal(s).transcript(steps)));
  expect(ours).toBe(theirs!);
}

/** Declares the tests of all tables of commands. */
export function sideBySide(): void {
  describe("etcdctl says the same of one member as of etcd's:", () => {
    let stores: StoreCluster[] = [];
    beforeAll(async () => {
      stores = await clusters(1);
    });
    afterAll(async () => {
      for (const c of stores) await c[Symbol.asyncDispose]();
    });

    for (const group of [KEYS, TRANSACTIONS, WATCHES, LEASES, MAINTENANCE, AUTH]) {
      for (const [name, steps] of Object.entries(group))
        test(name, () =>
          compare(
            stores.map((c) => subjectOf(c)),
            steps,
          ),
        );
    }
  });

  describe("etcdctl says the same of a member with a quota as of etcd's:", () => {
    let stores: StoreCluster[] = [];
    beforeAll(async () => {
      stores = await clusters(1, "--quota-backend-bytes", String(16 * 1024 * 1024));
    });
    afterAll(async () => {
      for (const c of stores) await c[Symbol.asyncDispose]();
    });

    for (const [name, steps] of Object.entries(QUOTA))
      test(name, () =>
        compare(
          stores.map((c) => subjectOf(c)),
          steps,
        ),
      );
  });

  describe("etcdctl says the same of three members as of etcd's:", () => {
    let stores: StoreCluster[] = [];
    let subjects: Subject[] = [];
    beforeAll(async () => {
      stores = await clusters(3);
      subjects = await Promise.all(
        stores.map(async (c) => {
          await mayChange(c);
          const leader = await leaderOf(c);
          if (leader !== c.members[0]) await moveLeader(leader, c.members[0]!);
          return subjectOf(c, await Promise.all(c.members.map(idOf)));
        }),
      );
    });
    afterAll(async () => {
      for (const c of stores) await c[Symbol.asyncDispose]();
    });

    for (const [name, steps] of Object.entries(CLUSTER)) test(name, () => compare(subjects, steps));
  });
}
