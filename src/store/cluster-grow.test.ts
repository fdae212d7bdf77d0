// A store that began alone, and grows and shrinks.
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { StoreClient } from "../client/etcd.ts";
import { Members, until } from "./testing/members.ts";

const bytes = (s: string) => new TextEncoder().encode(s);
const put = (client: StoreClient, key: string) => client.txn([], [{ type: "put", key: bytes(key), value: bytes(key) }]);
const keys = async (client: StoreClient) =>
  (await client.range(Uint8Array.of(0), { end: Uint8Array.of(0) })).kvs.map((kv) => new TextDecoder().decode(kv.key));

test("one member becomes three, which keep what it had, and one again, which needs nobody", async () => {
  await using members = await Members.start(["a"]);
  const a = members.get("a");
  const expected: string[] = [];
  const write = async (name: string, key: string) => {
    await put(members.get(name).client(), key);
    expected.push(key);
  };
  await write("a", "k0");
  for (const name of ["b", "c"]) {
    const { id } = await a.member.changeMembership({ kind: "add", id: 0n, peerUrls: [members.peerUrl(name)] });
    await members.start(name, { initialClusterState: "existing" });
    expect(members.id(name)).toBe(id);
    await write(name, `k${expected.length}`);
    await until("it has said its name", () => a.member.state.membership.get(id)?.name === name);
  }
  for (const name of ["a", "b", "c"]) await members.stop(name);
  await Promise.all(["a", "b", "c"].map((name) => members.start(name)));
  for (const name of ["a", "b", "c"]) expect(await keys(members.get(name).client())).toEqual(expected);

  for (const name of ["b", "c"]) {
    const gone = members.get(name);
    const id = members.id(name);
    const others = members.stores.size - 1;
    await until("all are there", async () => (await members.leader()).member.transport.connected.length === others);
    await members.get("a").member.changeMembership({ kind: "remove", id, peerUrls: [] });
    await until(`${name} has stopped`, () => !gone.member.running);
    members.stores.delete(name);
    await write("a", `without-${name}`);
  }
  await until("alone", () => members.get("a").member.consensus.alone);
  await members.stop("a");
  const again = await members.start("a");
  expect((await keys(again.client())).sort()).toEqual(expected.sort());
  await put(again.client(), "last");
}, 60_000);

test("a snapshot that came and was not installed before the process died is no obstacle", async () => {
  await using members = await Members.start(["a", "b", "c"], { snapshotCount: 10 });
  const b = members.get("b");
  for (let i = 0; i < 30; i++) await put(b.client(), `k${i}`);
  await b.member.snapshot();
  const { path } = b.member.snapshots.newest!;
  await members.stop("c");
  // As a crash would leave it between the two: the leader's snapshot in place, the log still the old one; and one half received.
  const dir = join(members.dataDir("c"), "snap");
  await Bun.write(join(dir, path.slice(path.lastIndexOf("/") + 1)), Bun.file(path));
  await Bun.write(join(dir, "received.snap.tmp.part.snap.tmp"), new Uint8Array(100));
  const c = await members.start("c");
  await put(members.get("a").client(), "after");
  await until("c has it all", () => c.member.state.mvcc.revision === b.member.state.mvcc.revision);
  expect(readdirSync(dir).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  await members.stop("c");
  expect(await keys((await members.start("c")).client())).toHaveLength(31);
}, 30_000);
