// What a member answers the others on its peer port.
import { Peer } from "../../rpc/gen/kubun/store/member_pb.ts";
import { Raft } from "../../rpc/gen/kubun/store/raft_pb.ts";
import { createRpcServer, type RpcListener, raw, service } from "../../rpc/server.ts";
import { Code, type HandlerContext, RpcError } from "../../rpc/types.ts";
import { inSlices } from "../backup/slices.ts";
import type { RaftConsensus } from "../consensus/driver.ts";
import { listenAt } from "../listen-error.ts";
import type { MemberChange } from "../membership/operations.ts";
import type { MemberMetrics } from "../metrics.ts";
import { decodeMessages } from "../raft/wire.ts";
import { rejected } from "../rejected.ts";
import { rpcError } from "../server/errors.ts";
import type { StateMachine } from "../state.ts";
import { VERSION } from "../version.ts";
import type { Identity } from "../wal/format.ts";
import { checkCertificate } from "./certificate.ts";
import { callerUrls, checkIdentity } from "./identity.ts";
import { receiveSnapshot } from "./snapshot.ts";
import type { PeerOptions, Transport } from "./transport.ts";

/** The member, as its peers use it. */
export interface PeerHost {
  readonly identity: Identity;
  readonly state: StateMachine;
  readonly consensus: RaftConsensus;
  readonly metrics: MemberMetrics;
  readonly transport: Pick<Transport, "calledBy">;
  /** Where received snapshots are written. */
  readonly snapshotDir: string;
  holdHistory(): Promise<Disposable>;
  /** Changes who the members are, as the leader. Rejects with Refused. */
  changeMembers(change: MemberChange): Promise<{ id: bigint; index: number }>;
  /** Seconds that the lease was given again, as the leader; 0 if there is none. Rejects with Refused. */
  renewAsLeader(id: bigint): Promise<number>;
  /** Seconds left, as the leader; -1 if there is none. Throws Refused. */
  remainingAsLeader(id: bigint): number;
  /** Raises the alarm of a member whose disk is full, as the leader. Rejects with Refused. */
  noSpaceAt(id: bigint): Promise<void>;
  /** Another member is about to stop. */
  stoppingAt(id: bigint): void;
}

const KINDS = ["add", "addLearner", "promote", "remove", "update"] as const;
const MAX_MESSAGE = 512 * 1024 * 1024;

export async function servePeers(host: PeerHost, { listen, tls, allowed }: PeerOptions): Promise<RpcListener[]> {
  const check = (context: HandlerContext) => {
    checkCertificate(context, allowed);
    return checkIdentity(context, host.identity, (id) => host.state.membership.wasRemoved(id));
  };
  /** Runs a handler of a call that names its cluster. */
  const known = async <T>(context: HandlerContext, run: (from: bigint) => T | Promise<T>): Promise<T> => {
    const from = check(context);
    try {
      return await run(from);
    } catch (error) {
      throw rpcError(error);
    }
  };
  const calledBy = (context: HandlerContext) => {
    const from = check(context);
    host.transport.calledBy(from, callerUrls(context));
    return from;
  };
  const raft = service(Raft, {
    send: raw((call) => {
      let from: bigint | undefined;
      return {
        message(bytes) {
          from ??= calledBy(call);
          host.metrics.receivedFrom(from, bytes.length);
          const messages = decodeMessages(bytes);
          for (const m of messages) if (m.from !== from) throw new RpcError(Code.InvalidArgument, "a message is from another member");
          host.consensus.step(messages);
        },
        requestsEnd() {
          call.send(new Uint8Array(0));
          call.end();
        },
        canceled() {
          if (from !== undefined) host.metrics.peers.receiveFailures.inc(1, { From: from.toString(16) });
        },
      };
    }),
    installSnapshot: (chunks, context) =>
      known(context, async (from) => {
        const { metrics } = host;
        const { save, fsync } = metrics.received;
        const receive = () => receiveSnapshot(host.snapshotDir, host.identity, chunks, fsync);
        host.consensus.step([await metrics.peers.receiving(from, () => metrics.timed(save, receive))]);
        return {};
      }),
  });
  const peer = service(Peer, {
    // Who wants to join doesn't know the cluster's id yet.
    describe: (_, context) => {
      checkCertificate(context, allowed);
      const { membership, index } = host.state;
      return {
        ...host.identity,
        members: membership.members.map((m) => ({
          id: m.id,
          name: m.name,
          peerUrls: [...m.peerUrls],
          clientUrls: [...m.clientUrls],
          isLearner: membership.isLearner(m.id),
        })),
        serverVersion: VERSION,
        clusterVersion: membership.version ?? "",
        index: BigInt(index),
      };
    },
    changeMembers: ({ kind, id, peerUrls }, context) =>
      known(context, async () => {
        const done = await host.changeMembers({ kind: KINDS[kind]!, id, peerUrls });
        return { id: done.id, index: BigInt(done.index) };
      }),
    renewLease: ({ id }, context) => known(context, async () => ({ ttl: BigInt(await host.renewAsLeader(id)) })),
    reportNoSpace: (_, context) =>
      known(context, async () => {
        await host.noSpaceAt(check(context));
        return {};
      }),
    reportStopping: (_, context) =>
      known(context, () => {
        host.stoppingAt(check(context));
        return {};
      }),
    leaseTimeToLive: ({ id }, context) => known(context, () => ({ ttl: BigInt(host.remainingAsLeader(id)) })),
    hashKV: ({ revision }, context) =>
      known(context, async () => {
        const { hashKv } = await import("../backup/hash.ts");
        using _hold = await host.holdHistory();
        const hash = await inSlices(hashKv(host.state.mvcc, Number(revision)));
        return { hash: hash.hash, compactRevision: BigInt(hash.compactRevision), revision: BigInt(hash.revision) };
      }),
  });
  // Members ask each other for signs of life as often as their timeouts need.
  const pings = { minInterval: 0, withoutStreams: true };
  const server = createRpcServer({ services: [raft, peer], tls, pings, maxReceiveSize: MAX_MESSAGE, handshakeFailed: rejected });
  return listenAt(server, "peer", listen);
}
