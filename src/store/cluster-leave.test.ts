// Members that are removed, and when they go.
import { expect, test } from "bun:test";
import type { Store } from "./mod.ts";
import type { Message } from "./raft/messages.ts";
import { EntryType } from "./raft/types.ts";
import { Members, until } from "./testing/members.ts";

const bytes = (s: string) => new TextEncoder().encode(s);
const put = (store: Store, key: string) => store.client().txn([], [{ type: "put", key: bytes(key), value: bytes(key) }]);

/** Member a leads, without an election, and the others have all that it has. */
async function ledByA(names: readonly string[], electionTimeout: number): Promise<Members> {
  const members = await Members.start(["a"], { electionTimeout });
  const a = members.get("a");
  for (const name of names) {
    const { id } = await a.member.changeMembership({ kind: "add", id: 0n, peerUrls: [members.peerUrl(name)] });
    await members.start(name, { initialClusterState: "existing" });
    await until("it has said its name", () => a.member.state.membership.get(id)?.name === name);
  }
  await until("all have it all", () => [...members.stores.values()].every((s) => s.member.state.index === a.member.state.index));
  return members;
}

const removeA = (members: Members) => members.get("a").member.changeMembership({ kind: "remove", id: members.id("a"), peerUrls: [] });

/** What of a member says that a change of members is committed does not arrive, nor anything after it. */
function silence({ member: { transport } }: Store): () => void {
  const send = transport.send.bind(transport);
  let change = Number.POSITIVE_INFINITY;
  let over = false;
  const lost = (m: Message) => {
    if (m.type === "append") for (const e of m.entries) if (e.type === EntryType.confChange) change = Math.min(change, e.index);
    over ||= "commit" in m && m.commit >= change;
    return over;
  };
  transport.send = (messages) => send(messages.filter((m) => !lost(m)));
  return () => {
    transport.send = send;
  };
}

test("a leader that removes itself hands over to another, and goes when that one can do without it", async () => {
  // Longer than the test waits for anything: who leads afterwards has been told to.
  await using members = await ledByA(["b", "c"], 50_000);
  const [a, b, c] = ["a", "b", "c"].map((name) => members.get(name)) as [Store, Store, Store];
  await removeA(members);
  await until("another leads", () => b.member.consensus.isLeader || c.member.consensus.isLeader);
  await until("it has gone", () => !a.member.running);
  members.stores.delete("a");
  for (const store of [b, c]) await put(store, "after");
}, 60_000);

test.each([false, true])(
  "a leader that removed itself stays while the other one does not know and cannot lead, or is started again for it: %p",
  async (again) => {
    await using members = await ledByA(["b"], 1000);
    const [a, b] = [members.get("a"), members.get("b")];
    const heal = silence(a);
    await removeA(members);
    await until("it leads nobody", () => !a.member.consensus.isLeader);
    expect({ removed: a.member.removed, running: a.member.running }).toEqual({ removed: true, running: true });
    expect(b.member.state.membership.size).toBe(2);
    if (again) {
      await members.stop("a");
      expect(b.member.consensus.isLeader).toBe(false);
      await expect(members.start("a")).rejects.toThrow("the member has been permanently removed from the cluster");
    } else {
      heal();
      await until("it has gone", () => !a.member.running);
    }
    members.stores.delete("a");
    await until("the other is alone", () => b.member.consensus.isLeader && b.member.consensus.alone);
    await put(b, "after");
  },
  60_000,
);
