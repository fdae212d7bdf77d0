// What a member of several tells of the others, under etcd's names.
import { expect, test } from "bun:test";
import { parseMetrics } from "../../testing/prometheus.ts";
import type { Store } from "../mod.ts";
import { Members, until } from "../testing/members.ts";
import { bytes } from "../testing/served.ts";

const scrape = async (store: Store) => parseMetrics(await (await fetch(`${store.address}/metrics`)).text());

test("bytes, round trips, lost connections and snapshots are counted by the member that they are to and from", async () => {
  await using members = await Members.start(["a", "b", "c"], { catchUpEntries: 100, heartbeatInterval: 100, electionTimeout: 2000 });
  const leader = await members.leader();
  const gone = [...members.stores].find(([, store]) => store !== leader)![0];
  const [own, other] = [leader.member.identity.memberId, members.id(gone)].map((id) => id.toString(16));
  const value = async (store: Store, name: string, labels = "") =>
    (await scrape(store)).get(name.replace(/_(count|sum|bucket)$/, ""))?.samples.get(`${name}${labels}`);

  const to = `{To="${other}"}`;
  await until("a round trip is measured", async () => (await value(leader, "etcd_network_peer_round_trip_time_seconds_count", to)) ?? 0);
  const seconds = await value(leader, "etcd_network_peer_round_trip_time_seconds_sum", to);
  expect(seconds).toBeGreaterThan(0);
  expect(seconds).toBeLessThan(60);
  expect(await value(leader, "etcd_network_peer_sent_bytes_total", to)).toBeGreaterThan(0);
  expect(await value(members.get(gone), "etcd_network_peer_received_bytes_total", `{From="${own}"}`)).toBeGreaterThan(0);
  const both = `{Local="${own}",Remote="${other}"}`;
  expect(await value(leader, "etcd_network_active_peers", both)).toBe(1);
  const disconnects = (await value(leader, "etcd_network_disconnected_peers_total", both)) ?? 0;

  await members.stop(gone);
  await until("the connection is gone", async () => (await value(leader, "etcd_network_active_peers", both)) === 0);
  expect(await value(leader, "etcd_network_disconnected_peers_total", both)).toBeGreaterThan(disconnects);
  // The log is kept for it as long as it is believed to be there.
  await until("it is given up", () => leader.member.consensus.followers.some((f) => f.id.toString(16) === other && !f.active));
  const client = leader.client();
  // More than is kept of the log for who was away.
  for (let round = 0; round < 40; round++) {
    const put = (i: number) => client.txn([], [{ type: "put", key: bytes(`k${i}`), value: bytes("value") }]);
    await Promise.all(Array.from({ length: 250 }, (_, i) => put(i)));
  }
  const back = await members.start(gone);
  await until("it has all", () => back.member.state.mvcc.revision === leader.member.state.mvcc.revision);
  const sent = async () => (await value(leader, "etcd_network_snapshot_send_success", to)) ?? 0;
  await until("a snapshot is sent", async () => (await sent()) > 0);
  expect(await value(leader, "etcd_network_snapshot_send_total_duration_seconds_count", to)).toBe(await sent());
  expect(await value(leader, "etcd_network_snapshot_send_inflights_total", to)).toBe(0);
  const from = `{From="${own}"}`;
  expect(await value(back, "etcd_network_snapshot_receive_success", from)).toBeGreaterThan(0);
  expect(await value(back, "etcd_network_snapshot_receive_inflights_total", from)).toBe(0);
  expect(await value(back, "etcd_snap_db_save_total_duration_seconds_count")).toBeGreaterThan(0);
  expect(await value(back, "etcd_snap_db_fsync_duration_seconds_count")).toBeGreaterThan(0);
  await leader.member.snapshot();
  expect(await value(leader, "etcd_snap_fsync_duration_seconds_count")).toBeGreaterThan(0);
  expect(await value(leader, "etcd_debugging_snap_save_marshalling_duration_seconds_count")).toBeGreaterThan(0);
}, 60_000);

/** What etcd-mixin's alerts and its dashboard ask for, of a member that is alone; `up` is Prometheus' own. */
const MIXIN = [
  "etcd_server_has_leader",
  "etcd_server_leader_changes_seen_total",
  "etcd_server_proposals_failed_total",
  "etcd_server_quota_backend_bytes",
  "etcd_mvcc_db_total_size_in_bytes",
  "etcd_mvcc_db_total_size_in_use_in_bytes",
  "etcd_disk_wal_fsync_duration_seconds_bucket",
  "etcd_disk_backend_commit_duration_seconds_bucket",
  "etcd_network_client_grpc_received_bytes_total",
  "etcd_network_client_grpc_sent_bytes_total",
  "grpc_server_started_total",
  "grpc_server_handled_total",
  "grpc_server_handling_seconds_bucket",
  "process_resident_memory_bytes",
];

test("the series of etcd-mixin's alerts and dashboard are there", async () => {
  await using members = await Members.start(["a"], { timeCalls: true });
  const families = await scrape(await members.leader());
  const series = new Set([...families.values()].flatMap((f) => [...f.samples.keys()].map((s) => s.replace(/\{.*/, ""))));
  expect(MIXIN.filter((name) => !series.has(name))).toEqual([]);
});
