// Members that became such while another was away, and lead when it comes back.
import { expect, test } from "bun:test";
import type { StoreClient } from "../client/etcd.ts";
import { callerUrls } from "./peer/identity.ts";
import { Members, until } from "./testing/members.ts";

const bytes = (s: string) => new TextEncoder().encode(s);
const put = (client: StoreClient, key: string) => client.txn([], [{ type: "put", key: bytes(key), value: bytes(key) }]);
const count = async (client: StoreClient) => (await client.range(bytes("k"), { end: bytes("l") })).count;

/** Adds a member that then leads. */
async function addLeader(members: Members, name: string): Promise<void> {
  const leader = await members.leader();
  const { id } = await leader.member.changeMembership({ kind: "add", id: 0n, peerUrls: [members.peerUrl(name)] });
  await members.start(name, { initialClusterState: "existing" });
  await until("it leads", async () => {
    await (await members.leader()).member.consensus.transfer(id).catch(() => {});
    return members.get(name).member.consensus.isLeader;
  });
}

test("who was away follows a leader that it has never heard of", async () => {
  await using members = await Members.start(["a", "b", "c"]);
  await put(members.get("a").client(), "k1");
  await members.stop("c");
  await addLeader(members, "d");
  await put(members.get("d").client(), "k2");
  const leader = members.get("d").member.consensus;
  const c = await members.start("c");
  await until("it has what it missed", async () => c.member.state.membership.get(leader.leader) !== undefined);
  expect(await count(c.client())).toBe(2);
  expect(leader.isLeader).toBe(true);
}, 60_000);

test("who takes an older snapshot, of before the leader was a member, follows it too", async () => {
  await using members = await Members.start(["a", "b"], { snapshotCount: 10 });
  for (let i = 0; i < 30; i++) await put(members.get("a").client(), `k${i}`);
  await addLeader(members, "c");
  const leader = members.get("c").member;
  const snapshot = leader.snapshots.newest;
  expect(snapshot?.meta.configuration.voters).toHaveLength(2);
  const { id } = await leader.changeMembership({ kind: "addLearner", id: 0n, peerUrls: [members.peerUrl("d")] });
  const d = await members.start("d", { initialClusterState: "existing" });
  expect(members.id("d")).toBe(id);
  await until("it knows its leader as a member", () => d.member.state.membership.get(leader.identity.memberId) !== undefined);
  await put(d.client(), "k-last");
  expect(await count(d.client())).toBe(31);
}, 60_000);

test("what a caller says of where it is reached has to be URLs", () => {
  const saying = (urls?: string) =>
    callerUrls({ requestHeaders: new Headers(urls === undefined ? {} : { "kubun-peer-urls": urls }) } as never);
  expect(saying()).toEqual([]);
  expect(saying("https://10.0.0.1:2380,http://10.0.0.2:2380")).toEqual(["https://10.0.0.1:2380", "http://10.0.0.2:2380"]);
  expect(() => saying("unix:/somewhere")).toThrow("a member can't be reached at unix:/somewhere");
  expect(() => saying("http://")).toThrow("a member can't be reached at http://");
});
