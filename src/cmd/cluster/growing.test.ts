import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Store } from "../../store/mod.ts";
import { freePorts } from "../../testing/ports.ts";
import { growStore, isGrowing, joinStore, markGrowing, takeOver } from "./growing.ts";
import { DataDir } from "./state.ts";

const bytes = (s: string) => Buffer.from(s);

test("what one process kept alone becomes a store of three, also when the first is ended half way", async () => {
  const path = mkdtempSync(join(tmpdir(), "kubun-growing-"));
  const dir = new DataDir(path);
  const stores: Store[] = [];
  try {
    // As `up` opens it: no address, and nobody listens for other members.
    const alone = new Store({ dataDir: dir.file("etcd"), name: "kubun" });
    await alone.start();
    for (let i = 0; i < 50; i++) await alone.client().txn([], [{ type: "put", key: bytes(`k${i}`), value: bytes("v") }]);
    await alone.stop();

    markGrowing(dir, "plane0");
    takeOver(dir, "plane0");
    expect([existsSync(dir.file("etcd")), isGrowing(dir)]).toEqual([false, true]);
    const ports = freePorts(3);
    const urls = ports.map((port) => `http://127.0.0.1:${port}`);
    const member = (i: number, joins = false) =>
      new Store({
        dataDir: dir.file(`plane${i}`, "etcd"),
        name: `p${i}`,
        peerUrls: [urls[i]!],
        initialCluster: urls
          .slice(0, joins ? i + 1 : 3)
          .map((url, k) => `p${k}=${url}`)
          .join(),
        ...(joins ? { initialClusterState: "existing" as const } : {}),
        peer: { listen: [{ host: "127.0.0.1", port: ports[i]! }] },
        heartbeatInterval: 20,
        electionTimeout: 200,
      });
    let first = member(0);
    await first.start();
    const end = new AbortController();
    const half = growStore(first, urls, dir, end.signal).catch((error: Error) => error.message);
    // It is added, and the first is ended before it has come.
    const deadline = Date.now() + 30_000;
    while (first.member.state.membership.size < 2 && Date.now() < deadline) await Bun.sleep(5);
    expect(first.member.state.membership.size).toBe(2);
    end.abort();
    await first.stop();
    expect(await half).toContain("the store failed to promote");
    first = member(0);
    await first.start();
    stores.push(first);
    const { signal } = new AbortController();
    const joining = [1, 2].map((i) => joinStore(() => member(i, true), signal));
    await growStore(first, urls, dir, signal);
    stores.push(...(await Promise.all(joining)));
    expect(isGrowing(dir)).toBe(false);
    const { membership } = first.member.state;
    expect([...membership.configuration.voters]).toHaveLength(3);
    expect(membership.members.flatMap((m) => m.peerUrls).sort()).toEqual([...urls].sort());
    for (const store of stores) {
      const { count } = await store.client().range(bytes("k"), { end: bytes("l"), countOnly: true });
      expect(count).toBe(50);
    }
    // It is a store of three: any two go on.
    await stores.shift()!.stop();
    await stores[0]!.client().txn([], [{ type: "put", key: bytes("after"), value: bytes("v") }]);
    // Growing it again finds nothing to do.
    first = member(0);
    await first.start();
    stores.push(first);
    await growStore(first, urls, dir, signal);
    expect(first.member.state.membership.size).toBe(3);
  } finally {
    await Promise.all(stores.map((s) => s.stop()));
    rmSync(path, { recursive: true, force: true });
  }
}, 90_000);

test("a cluster that never ran has nothing to add members to", () => {
  const path = mkdtempSync(join(tmpdir(), "kubun-growing-"));
  const dir = new DataDir(path);
  try {
    markGrowing(dir, "plane0");
    takeOver(dir, "plane0");
    expect(isGrowing(dir)).toBe(false);
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
});
