// `store snapshot save --data-dir`: a snapshot of a store that nobody runs.
import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Store } from "../mod.ts";
import { restoreSnapshot } from "./restore.ts";

const dir = mkdtempSync(join(tmpdir(), "kubun-offline-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const bytes = (s: string) => new TextEncoder().encode(s);
const ALL = { key: Uint8Array.of(0), end: Uint8Array.of(0) };

async function save(file: string, ...flags: string[]): Promise<{ code: number; err: string }> {
  const command = [process.execPath, join(import.meta.dir, "../../main.ts"), "store", "snapshot", "save", file, ...flags];
  const child = Bun.spawn(command, { cwd: dir, stdout: "ignore", stderr: "pipe" });
  const err = await new Response(child.stderr).text();
  return { code: await child.exited, err };
}

test("a cluster's data directory gives the snapshot that its running store would, and none while it runs", async () => {
  const cluster = join(dir, "cluster");
  const store = new Store({ dataDir: join(cluster, "etcd"), name: "kubun" });
  await store.start();
  const client = store.client();
  for (let i = 0; i < 100; i++) await client.txn([], [{ type: "put", key: bytes(`k${i % 30}`), value: bytes(`value ${i}`) }]);
  const before = await client.range(ALL.key, { end: ALL.end });
  const file = join(dir, "offline.db");
  const running = await save(file, `--data-dir=${cluster}`);
  expect(running.err).toContain(`is in use by process ${process.pid}: stop that first`);
  expect(running.code).toBe(1);
  expect([existsSync(file), existsSync(`${file}.part`)]).toEqual([false, false]);
  await store.stop();

  expect(await save(file, `--data-dir=${cluster}`)).toEqual({ code: 0, err: "" });
  const made = {
    dataDir: join(dir, "restored"),
    name: "a",
    initialCluster: "a=http://127.0.0.1:1",
    initialClusterToken: "t",
    initialAdvertisePeerUrls: ["http://127.0.0.1:1"],
    skipHashCheck: false,
  };
  expect(await restoreSnapshot(file, made)).toMatchObject({ revision: before.revision, keys: 30 });
  const restored = new Store({ dataDir: made.dataDir, name: "a" });
  await restored.start();
  expect(await restored.client().range(ALL.key, { end: ALL.end })).toEqual(before);
  await restored.stop();
  // It was read as a member reads it, and is as good as before.
  const again = new Store({ dataDir: join(cluster, "etcd"), name: "kubun" });
  await again.start();
  expect((await again.client().range(ALL.key, { end: ALL.end })).kvs).toEqual(before.kvs);
  await again.stop();
}, 60_000);

test("a member of several, and a folder that holds no store, are refused with what to do", async () => {
  const initialCluster = ["a", "b", "c"].map((name, i) => `${name}=http://127.0.0.1:${i + 1}`).join(",");
  const file = join(dir, "offline.db");
  const dataDir = join(dir, "one-of-three");
  await restoreSnapshot(file, {
    dataDir,
    name: "a",
    initialCluster,
    initialClusterToken: "t",
    initialAdvertisePeerUrls: ["http://127.0.0.1:1"],
    skipHashCheck: false,
  });
  for (const [flags, message, code] of [
    [[`--data-dir=${dataDir}`], `${dataDir} is that of one of 3 members; take the snapshot of a member that runs`, 1],
    [[`--data-dir=${join(dir, "nothing")}`], "holds no store", 1],
    [[`--data-dir=${dataDir}`, "--endpoints=127.0.0.1:1"], "--data-dir reads files and asks nobody", 2],
  ] as const) {
    const r = await save(join(dir, "none.db"), ...flags);
    expect(r.err).toContain(message);
    expect(r.code).toBe(code);
    expect(existsSync(join(dir, "none.db"))).toBe(false);
  }
  expect(existsSync(join(dir, "nothing"))).toBe(false);
}, 60_000);
