// etcdctl's tools, whose runs take their time: locks, elections, mirrors,
// snapshots and its checks, against our store and between it and Debian's etcd.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { allServing, serving } from "../support/checks.ts";
import { type Kind, type Member, root, StoreCluster } from "../support/cluster.ts";
import { must, until } from "../support/commands.ts";
import { etcdctl, etcdctlSays } from "../support/program.ts";

const KINDS: Kind[] = ["etcd", "kubun"];
const clusters = new Map<Kind, StoreCluster>();
const member = (kind: Kind): Member => clusters.get(kind)!.members[0]!;
const says = (kind: Kind, ...args: string[]) => etcdctlSays(member(kind).endpoint, ...args);
const start = (kind: Kind, ...args: string[]) => etcdctl(member(kind).endpoint, ...args);

/** Declares their tests. */
export function tools(): void {
  describe("etcdctl's tools", () => {
    beforeAll(async () => {
      for (const kind of KINDS) clusters.set(kind, await StoreCluster.make({ kind, members: 1 }));
      for (const c of clusters.values()) await allServing(c);
    });
    afterAll(async () => {
      for (const c of clusters.values()) await c[Symbol.asyncDispose]();
    });

    for (const kind of KINDS) {
      test(`lock holds until its end, and then the next in line has it (${kind})`, async () => {
        await using first = start(kind, "lock", "l", "--ttl=2");
        const [, key] = await first.printed(/^(l\/[0-9a-f]+)\n/);
        await using second = start(kind, "lock", "l", "--ttl=2");
        const inLine = async (n: number) =>
          until(
            `${n} in line`,
            async () => (await says(kind, "get", "l/", "--prefix", "--keys-only")).split("\n").filter(Boolean).length === n,
          );
        await inLine(2);
        await using third = start(kind, "lock", "l", "--ttl=2", "--", "sh", "-c", "echo $ETCD_LOCK_KEY; echo $ETCD_LOCK_REV");
        await inLine(3);
        expect([second.out, third.out]).toEqual(["", ""]);
        expect(await says(kind, "get", key!, "--keys-only")).toContain(key!);
        await first.ended("SIGINT");
        await second.printed(/^l\/[0-9a-f]+\n/);
        expect(third.out).toBe("");
        // One that is killed has it until its lease ends.
        await second.ended("SIGKILL");
        await third.printed(/^l\/[0-9a-f]+\n\d+\n/);
        expect((await third.ended()).code).toBe(0);
        await inLine(0);
      });

      test(`elect has one leader at a time, and those who listen see each (${kind})`, async () => {
        await using first = start(kind, "elect", "e", "p1");
        await first.printed(/^e\/[0-9a-f]+\np1\n/);
        await using listener = start(kind, "elect", "-l", "e");
        await listener.printed(/^e\/[0-9a-f]+\np1\n/);
        await using second = start(kind, "elect", "e", "p2");
        await until(
          "the second to stand",
          async () => (await says(kind, "get", "e/", "--prefix", "--sort-by=CREATE", "--print-value-only")) === "p1\np2\n",
        );
        expect(second.out).toBe("");
        await first.ended("SIGINT");
        await second.printed(/^e\/[0-9a-f]+\np2\n/);
        await listener.printed(/\np2\n$/);
        await second.ended("SIGINT");
        expect(await says(kind, "get", "e/", "--prefix")).toBe("");
      });
    }

    for (const [from, to] of [
      ["etcd", "kubun"],
      ["kubun", "etcd"],
    ] as [Kind, Kind][]) {
      test(`make-mirror from ${from} to ${to} copies what is there and what comes`, async () => {
        const prefix = `/mirror-${from}/`;
        for (let i = 0; i < 20; i++) await says(from, "put", `${prefix}${i}`, `${i}`);
        await using mirror = start(from, "make-mirror", member(to).endpoint, `--prefix=${prefix}`, "--dest-prefix=/copy/");
        const copied = async (lines: number) =>
          until(
            `${lines} keys at ${to}`,
            async () => {
              const out = await says(to, "get", "/copy/", "--prefix");
              return out.split("\n").length - 1 === 2 * lines ? out : undefined;
            },
            20_000,
            () => mirror.out,
          );
        await copied(20);
        await says(from, "put", `${prefix}3`, "changed");
        await says(from, "del", `${prefix}1`, `${prefix}2`);
        await says(from, "put", `${prefix}new`, "x");
        await says(from, "put", "/other", "y");
        await until("the last change", async () => (await says(to, "get", "/copy/new")) !== "");
        const source = await says(from, "get", prefix, "--prefix");
        expect(await says(to, "get", "/copy/", "--prefix")).toBe(source.replaceAll(prefix, "/copy/"));
        await says(to, "del", "/copy/", "--prefix");
      });

      test(`a snapshot of ${from} is checked by etcdctl, and ${to} starts from it`, async () => {
        await says(from, "put", "/snap/a", "1");
        const lease = /lease (\w+)/.exec(await says(from, "lease", "grant", "1000"))![1]!;
        await says(from, "put", "/snap/b", "leased", `--lease=${lease}`);
        const { header } = JSON.parse(await says(from, "put", "/snap/a", "2", "-w", "json"));
        const dir = clusters.get(from)!.dir;
        const file = join(dir, "snapshot.db");
        await says(from, "snapshot", "save", file);
        const status = JSON.parse(must("env", "ETCDCTL_API=3", "etcdctl", "snapshot", "status", file, "-w", "json"));
        expect(status).toMatchObject({ revision: header.revision });
        expect(status.totalKey).toBeGreaterThan(0);
        const everything = await says(from, "get", "", "--prefix", "-w", "fields");

        await using restored = await StoreCluster.make({ kind: to, members: 1 }, false);
        const m = restored.members[0]!;
        const flags = [
          "--data-dir",
          m.dataDir,
          "--name",
          m.name,
          "--initial-cluster",
          `${m.name}=${m.peerUrl}`,
          "--initial-advertise-peer-urls",
          m.peerUrl,
        ];
        m.wipe();
        if (to === "etcd") must("env", "ETCDCTL_API=3", "etcdctl", "snapshot", "restore", file, ...flags);
        else must(process.execPath, join(root, "src/main.ts"), "store", "snapshot", "restore", file, ...flags);
        expect(existsSync(m.dataDir)).toBe(true);
        m.start();
        await serving(m);
        const keys = (out: string) => out.slice(out.indexOf('"Key"'));
        expect(keys(await etcdctlSays(m.endpoint, "get", "", "--prefix", "-w", "fields"))).toBe(keys(everything));
        expect(JSON.parse(await etcdctlSays(m.endpoint, "get", "/none", "-w", "json")).header.revision).toBeGreaterThanOrEqual(
          header.revision,
        );
        expect(await etcdctlSays(m.endpoint, "get", "/snap/a", `--rev=${header.revision}`, "--print-value-only")).toBe("2\n");
        expect(await etcdctlSays(m.endpoint, "lease", "timetolive", lease, "--keys")).toContain("attached keys([/snap/b])");
        await etcdctlSays(m.endpoint, "put", "/snap/a", "3");
        await etcdctlSays(m.endpoint, "lease", "revoke", lease);
        expect(await etcdctlSays(m.endpoint, "get", "/snap/b")).toBe("");
      });
    }

    test("check datascale fills the store, and tells what it takes", async () => {
      const { out, err } = await start("kubun", "check", "datascale", "--load=s").ended();
      expect(out + err).toMatch(/(PASS|FAIL): Approximate system memory used/);
      expect(await says("kubun", "get", "/etcdctl-check-datascale/", "--prefix", "--keys-only")).toBe("");
    });
  });
}
