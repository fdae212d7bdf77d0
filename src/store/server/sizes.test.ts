// What a store says of its size, beside Debian's etcd: it grows with the history,
// keeps what a compaction frees for what comes, and gives it back when it is defragmented.
import { describe, expect, test } from "bun:test";
import { type Channel, connect, createClient } from "../../rpc/client.ts";
import { AlarmRequest_AlarmAction, AlarmType, KV, Lease, Maintenance } from "../../rpc/gen/etcd/rpc_pb.ts";
import { noEtcd, startEtcd } from "../../testing/etcd.ts";
import { parseMetrics } from "../../testing/prometheus.ts";
import { bytes, failure, Served } from "../testing/served.ts";

const QUOTA = 8 * 1024 * 1024;
const VALUE = new Uint8Array(64 * 1024);
const ROUNDS = 60;

interface Sizes {
  dbSize: number;
  inUse: number;
}

/** Asks until it is so, because an etcd commits ten times a second, and counts a page as free at the write after. */
async function until(what: string, channel: Channel, holds: (s: Sizes) => boolean, write = false): Promise<Sizes> {
  for (const deadline = performance.now() + 20_000; ; await Bun.sleep(20)) {
    if (write) await createClient(KV, channel).put({ key: bytes("other") });
    const { dbSize, dbSizeInUse } = await createClient(Maintenance, channel).status({});
    const sizes = { dbSize: Number(dbSize), inUse: Number(dbSizeInUse) };
    if (holds(sizes)) return sizes;
    if (performance.now() > deadline) throw new Error(`not ${what}: ${JSON.stringify(sizes)}`);
  }
}

async function life(channel: Channel, metricsUrl: string) {
  const kv = createClient(KV, channel);
  const maintenance = createClient(Maintenance, channel);
  const history = ROUNDS * VALUE.length;
  const fill = async () => {
    let revision = 0n;
    for (let i = 0; i < ROUNDS; i++) revision = (await kv.put({ key: bytes("k"), value: VALUE })).header!.revision;
    return revision;
  };

  const empty = await until("a little", channel, (s) => s.inUse > 0 && s.inUse <= s.dbSize && s.dbSize < 100_000);
  const revision = await fill();
  const full = await until("grown", channel, (s) => s.dbSize >= history && s.inUse >= history && s.inUse <= s.dbSize);
  await kv.compact({ revision, physical: true });
  let compacted = await until("freed", channel, (s) => s.inUse < history / 2, true);
  expect(compacted.dbSize).toBeGreaterThanOrEqual(full.dbSize);
  // They are comparable once it commits nothing more.
  let metrics = new Map() as ReturnType<typeof parseMetrics>;
  for (let before: Sizes | undefined; !Bun.deepEquals(before, compacted); ) {
    before = compacted;
    metrics = parseMetrics(await (await fetch(metricsUrl)).text());
    compacted = await until("freed", channel, (s) => s.inUse < history / 2);
  }
  const gauge = (name: string) => metrics.get(name)!.samples.get(name);
  expect(gauge("etcd_mvcc_db_total_size_in_bytes")).toBe(compacted.dbSize);
  expect(gauge("etcd_mvcc_db_total_size_in_use_in_bytes")).toBe(compacted.inUse);
  expect(gauge("etcd_server_quota_backend_bytes")).toBe(QUOTA);

  // What was freed is used again.
  const again = await fill();
  const reused = await until("used again", channel, (s) => s.inUse >= history);
  expect(reused.dbSize).toBeLessThan(compacted.dbSize * 1.2);
  await kv.compact({ revision: again, physical: true });
  await maintenance.defragment({});
  const given = await until("given back", channel, (s) => s.dbSize < history / 2);
  expect(given.dbSize).toBeGreaterThan(empty.dbSize);

  // The quota counts what is taken, not what is in use.
  let refused: string | undefined;
  for (let i = 0; i < 1000 && !refused; i++) refused = await failure(kv.put({ key: bytes("k"), value: VALUE }));
  expect(refused).toBe("ResourceExhausted: etcdserver: mvcc: database space exceeded");
  const overfull = await until("full", channel, (s) => s.dbSize > QUOTA - 1024 * 1024);
  const { alarms } = await maintenance.alarm({ action: AlarmRequest_AlarmAction.GET });
  expect(alarms.map((a) => a.alarm)).toEqual([AlarmType.NOSPACE]);
  expect(await failure(createClient(Lease, channel).leaseGrant({ TTL: 60n }))).toBe(refused);
  const now = (await kv.range({ key: bytes("k") })).header!.revision;
  await kv.compact({ revision: now, physical: true });
  await until("as large as before", channel, (s) => s.dbSize >= overfull.dbSize);
  await maintenance.defragment({});
  await until("given back", channel, (s) => s.dbSize < history / 2);
  const { memberID, alarm } = alarms[0]!;
  await maintenance.alarm({ action: AlarmRequest_AlarmAction.DEACTIVATE, alarm, memberID });
  await kv.put({ key: bytes("k"), value: VALUE });

  const status = await maintenance.status({});
  const { header, leader, raftIndex, raftAppliedIndex, raftTerm, isLearner, errors } = status;
  expect([leader, raftTerm, isLearner, errors]).toEqual([header!.memberId, header!.raftTerm, false, []]);
  expect(raftAppliedIndex).toBeGreaterThan(0n);
  expect(raftIndex).toBeGreaterThanOrEqual(raftAppliedIndex);
  return status;
}

describe("a store's size grows with history, stays over a compaction, and falls with a defragmentation:", () => {
  test("ours", async () => {
    await using served = await Served.start({ quotaBackendBytes: QUOTA });
    const status = await life(served.channel, `${served.store.address}/metrics`);
    expect(status).toMatchObject({
      dbSizeQuota: BigInt(QUOTA),
      storageVersion: "3.6.0",
      downgradeInfo: { enabled: false, targetVersion: "" },
    });
  }, 60_000);

  if (noEtcd) console.log(`skipped: the sizes of a real etcd: ${noEtcd}`);
  test.skipIf(noEtcd !== undefined)(
    "Debian's etcd",
    async () => {
      await using etcd = await startEtcd(["--quota-backend-bytes", String(QUOTA)]);
      const [host, port] = etcd.endpoint.split(":") as [string, string];
      using channel = connect({ host, port: Number(port) });
      await life(channel, `http://${etcd.endpoint}/metrics`);
    },
    60_000,
  );
});
