import { describe, expect, test } from "bun:test";
import type { Refused } from "../mvcc/errors.ts";
import { NOBODY } from "../raft/configuration.ts";
import { BootstrapError, checkInitialCluster, checkTimeouts, matchMembers, newCluster, parseInitialCluster } from "./bootstrap.ts";
import { clusterIdOf, memberIdOf } from "./id.ts";
import { decodeBase, encodeBase, encodeContext, Membership } from "./members.ts";
import { confChangeOf, type MemberChange, type View } from "./operations.ts";

const refused = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(BootstrapError);
    return (error as Error).message;
  }
  throw new Error("was not refused");
};

test("ids are those that etcd gives a member of its own defaults", () => {
  const id = memberIdOf(["http://localhost:2380"], "etcd-cluster");
  expect(id.toString(16)).toBe("8e9e05c52164694d");
  expect(clusterIdOf([id]).toString(16)).toBe("cdf818194e3a8c32");
});

test("members compute the same cluster from the same flags, in whatever order they stand", () => {
  const a = newCluster("a", parseInitialCluster("a=http://h1:1,b=http://h2:1,b=http://h2:2,c=http://h3:1"), "t");
  const b = newCluster("b", parseInitialCluster("c=http://h3:1,b=http://h2:2,a=http://h1:1,b=http://h2:1"), "t");
  expect(b.clusterId).toBe(a.clusterId);
  expect(b.memberId).not.toBe(a.memberId);
  expect(b.membership.members.map((m) => m.id)).toEqual(a.membership.members.map((m) => m.id));
  expect(newCluster("a", parseInitialCluster("a=http://h1:1"), "u").clusterId).not.toBe(
    newCluster("a", parseInitialCluster("a=http://h1:1"), "t").clusterId,
  );
});

describe("flags that don't fit are refused in etcd's words", () => {
  const check = (name: string, advertised: string[], cluster: string) =>
    refused(() => checkInitialCluster(name, advertised, parseInitialCluster(cluster)));
  test("the initial cluster", () => {
    expect(check("x", ["http://h:1"], "a=http://h:1")).toBe(`couldn't find local name "x" in the initial cluster configuration`);
    expect(check("a", ["http://h:1"], "a=http://h:1,b=http://h:1/")).toBe("initial cluster a=http://h:1,b=http://h:1/ has duplicate url");
    expect(check("a", ["http://h:1"], "a=http://h:1,a=http://h:2")).toBe(
      "--initial-cluster has a=http://h:2 but missing from --initial-advertise-peer-urls=http://h:1",
    );
    expect(check("a", ["http://h:1", "http://h:3"], "a=http://h:1")).toBe(
      "--initial-advertise-peer-urls has http://h:3 but missing from --initial-cluster=a=http://h:1",
    );
    expect(refused(() => parseInitialCluster("a"))).toContain('bad initial cluster "a"');
  });
  test("the timeouts", () => {
    expect(refused(() => checkTimeouts(0, 1000))).toBe("--heartbeat-interval must be >0 (set to 0ms)");
    expect(refused(() => checkTimeouts(100, 499))).toBe(
      "--election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]",
    );
    expect(refused(() => checkTimeouts(100, 50_001))).toBe("--election-timeout[50001ms] is too long, and should be set less than 50000ms");
    checkTimeouts(100, 500);
  });
  test("an existing cluster of other members", () => {
    const members = [{ id: 7n, name: "a", peerUrls: ["http://h:1"], clientUrls: [] }];
    expect(matchMembers("a", parseInitialCluster("a=http://h:1/"), members)).toBe(7n);
    expect(refused(() => matchMembers("a", parseInitialCluster("a=http://h:1,b=http://h:2"), members))).toContain(
      "member count is unequal",
    );
    expect(refused(() => matchMembers("a", parseInitialCluster("a=http://h:2"), members))).toContain(
      "unmatched member while checking PeerURLs",
    );
  });
});

test("members come as learners, are promoted, renamed and removed for good; a base and a snapshot bring them all back", () => {
  const membership = new Membership();
  membership.restore(newCluster("a", parseInitialCluster("a=http://h1:1"), "t").membership);
  const [own] = membership.configuration.voters;
  const add = { transition: "auto", context: encodeContext({ name: "", peerUrls: ["http://h2:1"] }) } as const;
  membership.apply({ changes: [{ type: "addLearner", id: 5n }], ...add });
  expect([membership.isLearner(5n), membership.get(5n)?.peerUrls]).toEqual([true, ["http://h2:1"]]);
  membership.publish(5n, "b", ["http://h2:2"]);
  membership.apply({ changes: [{ type: "addVoter", id: 5n }], transition: "auto", context: new Uint8Array(0) });
  expect([membership.isLearner(5n), membership.get(5n)?.name]).toEqual([false, "b"]);
  expect(membership.setPeerUrls(5n, ["http://h2:9"])).toBe(true);
  expect(membership.setPeerUrls(6n, [])).toBe(false);
  membership.setVersion("3.6.0");
  membership.apply({ changes: [{ type: "remove", id: own! }], transition: "auto", context: new Uint8Array(0) });
  const again = new Membership();
  again.restore(decodeBase(encodeBase(membership.state())));
  expect(again.state()).toEqual(membership.state());
  expect(again.wasRemoved(own!)).toBe(true);
  expect(again.members).toEqual([{ id: 5n, name: "b", peerUrls: ["http://h2:9"], clientUrls: ["http://h2:2"] }]);
});

describe("a change that could cost the majority is refused", () => {
  const follower = (id: bigint, active = true, match = 100) => ({
    id,
    learner: false,
    state: "replicate" as const,
    match,
    next: 101,
    active,
  });
  function view(members: { started: boolean; up: boolean }[], learner?: { match: number }): View {
    const membership = new Membership();
    const all = members.map(({ started }, i) => ({
      id: BigInt(i + 1),
      name: started ? `m${i}` : "",
      peerUrls: [`http://h${i}:1`],
      clientUrls: [],
    }));
    const learners = learner ? [9n] : [];
    const voters = all.map((m) => m.id);
    if (learner) all.push({ id: 9n, name: "", peerUrls: ["http://h9:1"], clientUrls: [] });
    membership.restore({ members: all, removed: [], version: undefined, configuration: { ...NOBODY, voters, learners } });
    const up = members.flatMap((m, i) => (m.up ? [BigInt(i + 1)] : []));
    const followers = [
      ...voters.slice(1).map((id) => follower(id, up.includes(id))),
      ...(learner ? [follower(9n, true, learner.match)] : []),
    ];
    return { membership, own: 1n, followers, committed: 100, connected: [...up, 9n], token: "t", maxLearners: 1, strict: true, seconds: 1 };
  }
  const here = { started: true, up: true };
  const away = { started: true, up: false };
  const never = { started: false, up: false };
  const attempt = (v: View, kind: MemberChange["kind"], id = 0n, urls = ["http://new:1"]) => {
    try {
      return confChangeOf({ kind, id, peerUrls: urls }, v).change.changes[0]!.type;
    } catch (error) {
      return (error as Refused).refusal;
    }
  };
  const cases: [what: string, found: () => string, expected: string][] = [
    ["a second to one", () => attempt(view([here]), "add"), "addVoter"],
    ["a third while the second never came", () => attempt(view([here, never]), "add"), "not-enough-started"],
    ["a fourth while one is away", () => attempt(view([here, here, away]), "add"), "unhealthy"],
    ["a learner while one is away", () => attempt(view([here, here, away]), "addLearner"), "addLearner"],
    ["a second learner", () => attempt(view([here], { match: 1 }), "addLearner"), "too-many-learners"],
    ["the same URL", () => attempt(view([here]), "addLearner", 0n, ["http://h0:1"]), "peer-url-exists"],
    ["no URL", () => attempt(view([here]), "add", 0n, ["h:1"]), "bad-member-urls"],
    ["a learner that is behind", () => attempt(view([here], { match: 89 }), "promote", 9n), "learner-not-ready"],
    ["a learner that has enough", () => attempt(view([here], { match: 90 }), "promote", 9n), "addVoter"],
    ["a voter promoted", () => attempt(view([here, here]), "promote", 2n), "member-not-learner"],
    ["nobody", () => attempt(view([here]), "remove", 7n), "member-not-found"],
    ["the last", () => attempt(view([here]), "remove", 1n), "not-enough-started"],
    ["one that is away", () => attempt(view([here, here, away]), "remove", 3n), "remove"],
    ["one that is needed", () => attempt(view([here, here, away]), "remove", 2n), "unhealthy"],
    ["one that never came", () => attempt(view([here, never]), "remove", 2n), "remove"],
    ["a fourth without the check", () => attempt({ ...view([here, here, away]), strict: false }, "add"), "addVoter"],
    ["one that is needed, without the check", () => attempt({ ...view([here, here, away]), strict: false }, "remove", 2n), "remove"],
    ["the last, without the check", () => attempt({ ...view([here]), strict: false }, "remove", 1n), "not-enough-started"],
  ];
  for (const [what, found, expected] of cases) test(`${what}: ${expected}`, () => expect(found()).toBe(expected));
});
