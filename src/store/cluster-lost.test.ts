// A member whose data directory was lost, or is an older copy, has given its
// word for entries that it does not have: it must not count for a majority again.
import { expect, test } from "bun:test";
import { cpSync, rmSync } from "node:fs";
import type { Store } from "./mod.ts";
import { Members, until } from "./testing/members.ts";

const bytes = (s: string) => new TextEncoder().encode(s);
const put = (store: Store, key: string) => store.client().txn([], [{ type: "put", key: bytes(key), value: bytes(key) }]);

const LOSSES: Record<string, (dir: string, copy: string) => void> = {
  "is gone": (dir) => rmSync(dir, { recursive: true }),
  "is an older copy": (dir, copy) => {
    rmSync(dir, { recursive: true });
    cpSync(copy, dir, { recursive: true });
  },
};

for (const [what, lose] of Object.entries(LOSSES)) {
  test(`a member whose data directory ${what} says so, and takes part no more until it is added anew`, async () => {
    await using members = await Members.start(["a", "b", "c"]);
    const leader = await members.leader();
    const [name] = [...members.stores].find(([, store]) => store !== leader)!;
    const id = members.id(name);
    const store = members.get(name);
    await put(leader, "before");
    await until("it has that", () => store.member.state.index === leader.member.state.index);
    await members.stop(name);
    const copy = `${members.dataDir(name)}.copy`;
    cpSync(members.dataDir(name), copy, { recursive: true });
    const again = await members.start(name);
    await put(await members.leader(), "after");
    await until("it has that too", () => again.member.state.index === leader.member.state.index);
    await members.stop(name);

    lose(members.dataDir(name), copy);
    const lost = await members.start(name, { initialClusterState: "existing" });
    const told = await new Promise<Error>((resolve) => {
      lost.member.onBroken = resolve;
    });
    expect(told.message).toMatch(
      /^tocommit\(\d+\) is out of range \[lastIndex\(\d+\)\]: this member has acknowledged what its log no longer has/,
    );
    expect(lost.member.failure).toBe(told.message);
    const term = lost.member.consensus.term;
    // It hears of nothing more, and so gives no vote.
    await put(leader, "meanwhile");
    expect(lost.member.consensus.term).toBe(term);
    await members.stop(name);

    await leader.member.changeMembership({ kind: "remove", id, peerUrls: [] });
    rmSync(members.dataDir(name), { recursive: true });
    await leader.member.changeMembership({ kind: "add", id: 0n, peerUrls: [members.peerUrl(name)] });
    const anew = await members.start(name, { initialClusterState: "existing" });
    await until("it has it all", () => anew.member.state.index === leader.member.state.index);
    expect((await anew.client().range(bytes("after"))).kvs.length).toBe(1);
  }, 60_000);
}
