import { AlarmRequest_AlarmAction, AlarmType, Maintenance } from "../../rpc/gen/etcd/rpc_pb.ts";
import { service } from "../../rpc/service.ts";
import { inSlices } from "../backup/slices.ts";
import type { Alarm, AlarmKind } from "../command.ts";
import { Refused } from "../mvcc/errors.ts";
import { VERSION } from "../version.ts";
import { header, type ServerContext } from "./context.ts";
import { downgrade } from "./downgrade.ts";
import { answering } from "./errors.ts";
import { selfOf, snapshotMethod } from "./snapshot.ts";

const KINDS: Partial<Record<AlarmType, AlarmKind>> = { [AlarmType.NOSPACE]: "nospace", [AlarmType.CORRUPT]: "corrupt" };
const TYPES: Record<AlarmKind, AlarmType> = { nospace: AlarmType.NOSPACE, corrupt: AlarmType.CORRUPT };
const message = ({ memberId, kind }: Alarm) => ({ memberID: memberId, alarm: TYPES[kind] });

export function maintenanceService(context: ServerContext) {
  const { member, gate } = context;

  return service(Maintenance, {
    status: () => {
      const { state } = member;
      const errors = member.alarms.map((a) => `memberID:${a.memberId} alarm:${AlarmType[TYPES[a.kind]]} `);
      if (member.failure) errors.push(member.failure);
      if (member.consensus.leader === 0n) errors.push(new Refused("no-leader").message);
      return {
        header: header(context),
        version: VERSION,
        dbSize: BigInt(state.size),
        dbSizeInUse: BigInt(state.sizeInUse),
        dbSizeQuota: BigInt(member.quota),
        leader: member.consensus.leader,
        raftIndex: BigInt(member.consensus.committedIndex),
        raftTerm: BigInt(member.consensus.term),
        raftAppliedIndex: BigInt(state.index),
        errors,
        isLearner: member.isLearner,
        storageVersion: state.clusterVersion,
        downgradeInfo: { enabled: state.downgradeTarget !== "", targetVersion: state.downgradeTarget },
      };
    },

    alarm: (r, call) =>
      answering(async () => {
        if (r.action === AlarmRequest_AlarmAction.GET) {
          const wanted = KINDS[r.alarm];
          // Those of all members, whichever is named.
          const alarms = member.alarms.filter((a) => !wanted || a.kind === wanted);
          return { header: header(context), alarms: alarms.map(message) };
        }
        const raise = r.action === AlarmRequest_AlarmAction.ACTIVATE;
        const kind = KINDS[r.alarm];
        if (!kind) return { header: header(context) };
        const alarm: Alarm = { memberId: r.memberID || member.identity.memberId, kind };
        const changed = await gate.as(call, (by) => member.alarm(raise, alarm, by));
        // One that is raised already is told all the same.
        return { header: header(context), alarms: changed || raise ? [message(alarm)] : [] };
      }),

    defragment: () =>
      answering(async () => {
        const { metrics } = member;
        metrics.defragmenting = 1;
        try {
          await metrics.timed(metrics.defrag, () => member.defragment());
        } finally {
          metrics.defragmenting = 0;
        }
        return { header: header(context) };
      }),

    snapshot: snapshotMethod(context),

    hash: () =>
      answering(async () => {
        const { contentOf } = await import("../backup/backup.ts");
        const { bucketsOf } = await import("../backup/content.ts");
        const { backendHash } = await import("../backup/hash.ts");
        const { metrics } = member;
        const hash = await metrics.timed(metrics.hash, async () =>
          inSlices(backendHash(bucketsOf(await contentOf(member, selfOf(context))))),
        );
        return { header: header(context), hash };
      }),

    hashKV: (r) =>
      answering(async () => {
        const { hashKv } = await import("../backup/hash.ts");
        using _hold = await member.holdHistory();
        const { metrics } = member;
        const { hash, compactRevision, revision } = await metrics.timed(metrics.hashRev, () =>
          inSlices(hashKv(member.state.mvcc, Number(r.revision))),
        );
        return { header: header(context), hash, compactRevision: BigInt(compactRevision || -1), hashRevision: BigInt(revision) };
      }),

    downgrade: (r) => answering(() => downgrade(context, r)),

    moveLeader: (r) =>
      answering(async () => {
        await member.consensus.transfer(r.targetID);
        return { header: header(context) };
      }),
  });
}
