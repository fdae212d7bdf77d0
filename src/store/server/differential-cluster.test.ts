// Members with URLs of all kinds, alarms, hashes, leases and requests at the
// limit of their size: ours answers as Debian's etcd does.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Channel, createClient } from "../../rpc/client.ts";
import { Auth, Cluster, KV, Lease, Maintenance, type Member } from "../../rpc/gen/etcd/rpc_pb.ts";
import { noEtcd } from "../../testing/etcd.ts";
import { bytes } from "../testing/served.ts";
import { outcome, Sides } from "../testing/sides.ts";

const FLAGS = ["--election-timeout", "2000"];

if (noEtcd) console.log(`skipped: members and alarms side by side with a real etcd: ${noEtcd}`);

describe.skipIf(noEtcd !== undefined)("ours answers as Debian's etcd does", () => {
  let sides: Sides;
  beforeAll(async () => {
    sides = await Sides.start(FLAGS, { electionTimeout: 2000 });
  });
  afterAll(() => sides?.[Symbol.asyncDispose]());

  const added = (m: Member | undefined) => m && { ...m, ID: undefined };
  /** A learner with these URLs comes and goes. */
  const comeAndGo = async (channel: Channel, peerURLs: string[]) => {
    const cluster = createClient(Cluster, channel);
    const { member, members } = await cluster.memberAdd({ peerURLs, isLearner: true });
    await cluster.memberRemove({ ID: member!.ID });
    return [added(member), added(members.find((m) => m.ID === member!.ID))];
  };

  const URLS: Record<string, string[]> = {
    "in no order": ["http://z:2", "http://z:1", "https://b:3"],
    twice: ["http://z:1", "http://z:1"],
    "with blanks around": [" http://a:1 "],
    "with a slash": ["http://a:1/"],
    "with a path": ["http://a:1/x"],
    "without a port": ["http://a"],
    "without slashes": ["http:a:1"],
    "without a host": ["http://"],
    "of no scheme": ["a:1"],
    "of another scheme": ["ftp://a:1"],
    "of IPv6": ["http://[::1]:1"],
    "of IPv6 without brackets": ["http://::1:1"],
    "with capitals": ["HTTP://A.b:1"],
    "some of which are bad": ["http://a:1", "x"],
    none: [],
  };
  for (const [what, urls] of Object.entries(URLS)) {
    test(`to a member with URLs ${what}`, () => sides.same(what, (channel) => comeAndGo(channel, urls)));
  }

  test("to alarms raised twice, listed and cleared", async () => {
    const steps = [1, 2, 0].flatMap((alarm) =>
      [1, 1, 0, 2, 0, 2].flatMap((action) => [5n, 6n].map((memberID) => ({ alarm, action, memberID }))),
    );
    for (const step of steps) {
      // An alarm of no kind ends an etcd.
      if (step.alarm === 0 && step.action === 1) continue;
      await sides.same(
        JSON.stringify(step, (_, v) => String(v)),
        async (channel) => (await createClient(Maintenance, channel).alarm(step)).alarms.map((a) => `${a.alarm} ${a.memberID}`).sort(),
      );
    }
  });

  test("to the shortest lease that a slow election allows", async () => {
    for (const TTL of [0n, 1n, 2n, 3n, 4n]) {
      await sides.same(`${TTL}`, async (channel) => (await createClient(Lease, channel).leaseGrant({ TTL })).TTL);
    }
  });

  test("to requests about as large as they may be", async () => {
    const limit = 1.5 * 1024 * 1024;
    const key = bytes("k");
    // Within 34 bytes of the limit etcd's answer depends on the length of a number of its own.
    for (const size of [limit - 40, limit - 14, limit, limit + 1]) {
      const value = new Uint8Array(size);
      await sides.same(`put ${size}`, (channel) => createClient(KV, channel).put({ key, value }));
      const success = [{ request: { case: "requestPut" as const, value: { key, value } } }];
      await sides.same(`txn ${size}`, (channel) => createClient(KV, channel).txn({ success }));
    }
  });

  test("to hashes of revisions that there are, and that there are not", async () => {
    await sides.both(async (channel) => {
      const { header } = await createClient(KV, channel).put({ key: bytes("k"), value: bytes("v") });
      await createClient(KV, channel).compact({ revision: header!.revision - 1n, physical: true });
      await createClient(KV, channel).put({ key: bytes("k") });
    });
    const now = (await createClient(KV, sides.channels[0]).range({ key: bytes("k") })).header!.revision;
    for (const revision of [0n, 1n, now - 1n, now, now + 1n]) {
      // 3.4 does not say of which revision.
      await sides.same(`${revision}`, async (channel) => ({
        ...(await createClient(Maintenance, channel).hashKV({ revision })),
        hashRevision: 0n,
      }));
    }
  });

  test("but takes no permission of a kind that there is not", async () => {
    const [, ours] = sides.channels;
    const auth = createClient(Auth, ours);
    await auth.roleAdd({ name: "r" });
    const perm = { permType: 7, key: bytes("k") };
    expect(await outcome(auth.roleGrantPermission({ name: "r", perm }))).toBe("InvalidArgument: etcdserver: permission not given");
    expect((await auth.roleGet({ role: "r" })).perm).toEqual([]);
  });
});
