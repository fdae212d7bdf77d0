// How a member comes to be: from its data directory, or, where that is empty,
// from what it was told about its cluster.
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { bootTime } from "../platform/clock.ts";
import { logger } from "../platform/log.ts";
import { RaftConsensus } from "./consensus/driver.ts";
import { CATCH_UP, Replay } from "./consensus/replay.ts";
import type { Host } from "./consensus.ts";
import type { Member } from "./member.ts";
import { checkInitialCluster, checkTimeouts, type NewCluster, newCluster, parseInitialCluster } from "./membership/bootstrap.ts";
import { encodeBase } from "./membership/members.ts";
import { DEFAULT_ELECTION, DEFAULT_HEARTBEAT, DEFAULT_NAME, DEFAULT_PEER_URL, DEFAULT_TOKEN } from "./membership/options.ts";
import type { MemberOptions } from "./options.ts";
import type { Joined } from "./peer/join.ts";
import { Transport, type TransportEvents } from "./peer/transport.ts";
import { NOBODY } from "./raft/configuration.ts";
import { Raft } from "./raft/raft.ts";
import { BASE, type Entry, type HardState } from "./wal/format.ts";
import { lockDirectory } from "./wal/lock.ts";
import { Wal } from "./wal/wal.ts";

export interface Opened {
  readonly lock: { release(): void };
  readonly wal: Wal;
  readonly transport: Transport;
  /** Takes part from now on. */
  start(host: Host): RaftConsensus;
  /** Listens for the other members, if it is to. */
  serve(member: Member): Promise<void>;
}

/** Where a new cluster's log begins; see raft/configuration.ts. */
const FIRST = { index: 1, term: 1 } as const;

export async function openMember(member: Member, options: MemberOptions): Promise<Opened> {
  const { dataDir, heartbeatInterval = DEFAULT_HEARTBEAT, electionTimeout = DEFAULT_ELECTION, catchUpEntries = CATCH_UP } = options;
  checkTimeouts(heartbeatInterval, electionTimeout);
  refuseForeign(dataDir);
  const walDir = options.walDir ?? join(dataDir, "wal");
  const lock = lockAll(options.walDir ? [dataDir, walDir] : [dataDir]);
  try {
    const { state, snapshots } = member;
    await snapshots.load();
    member.pace.from(state.index);
    const replay = new Replay(state, member.pace, performance.now(), catchUpEntries);
    const fresh = Wal.exists(walDir) ? undefined : await begin(options);
    const wal = Wal.open(walDir, {
      segmentBytes: options.segmentBytes,
      after: state.index,
      synced: (milliseconds) => member.metrics.walFsync.observe(milliseconds / 1000),
      create: () => ({ ...fresh!.identity, ...(state.index === 0 ? baseOf(fresh!.cluster) : {}) }),
      visit: replay,
    });
    if (fresh?.cluster && state.membership.size === 0) {
      // A restored snapshot says nothing of members, and a base is not read back when it has just been written.
      state.membership.restore(fresh.cluster.membership);
      if (state.index === 0) state.pass(FIRST.index, FIRST.term);
    }
    const { memberId } = wal.identity;
    const own = () => {
      const { name = DEFAULT_NAME, peerUrls = [DEFAULT_PEER_URL] } = options;
      const known = state.membership.get(memberId) ?? { id: memberId, name, peerUrls, clientUrls: [] };
      return { members: [known], removed: [], configuration: { ...NOBODY, voters: [memberId] }, version: state.membership.version };
    };
    // What the log does not say of the members has to be in a snapshot, for the next start and for those who join.
    let unsaid = fresh?.cluster !== undefined && snapshots.newest !== undefined;
    if (options.forceNewCluster) {
      replay.commitAll();
      const removed = state.membership.members.map((m) => m.id).filter((id) => id !== memberId);
      state.membership.restore({ ...own(), removed });
      unsaid = true;
    } else if (!fresh && state.membership.size === 0 && (state.index > 0 || wal.version === 1)) {
      // From before there were members.
      state.membership.restore(own());
      unsaid = true;
    }
    if (unsaid) {
      if (state.index === 0) state.pass(FIRST.index, FIRST.term);
      await snapshots.take();
      // Nothing of the log before counts for anybody else.
      wal.restart(state.index, { term: Math.max(state.term, wal.hardState.term), vote: 0n, commit: state.index });
    }
    const stored = unsaid || fresh ? undefined : replay.stored();

    // One that has joined and never heard from the leader does not know whom to answer.
    const { members: peers } =
      state.membership.size > 0 ? state.membership : (fresh ?? (await begin({ ...options, initialClusterState: "existing" })));
    const events: TransportEvents = {
      unsent: (message) => member.consensus.unsent(message),
      unreachable: (id) => member.consensus?.reportUnreachable(id),
      snapshotSent: (id, ok) => member.consensus.reportSnapshot(id, ok),
      snapshotFailed: (id, error) => logger("etcd").warn("Could not send a snapshot", { peer: id.toString(16), error: String(error) }),
      removed: (by) => member.refused(by),
      wasRemoved: (id) => state.membership.wasRemoved(id),
      async snapshot() {
        const { newest } = snapshots;
        // The log must go on from it.
        return newest && member.consensus.metaAt(newest.meta.index) ? newest : snapshots.take();
      },
    };
    const transport = new Transport(wal.identity, options.peer?.clientTls, electionTimeout, events, member.metrics.peers);
    return {
      lock,
      wal,
      transport,
      start(host) {
        const { hardState } = wal;
        const base = { index: state.index, term: state.term, configuration: state.membership.configuration };
        const raft = new Raft(
          {
            id: memberId,
            random: Math.random,
            clock: bootTime,
            electionTicks: Math.round(electionTimeout / heartbeatInterval),
            tickMillis: heartbeatInterval,
            catchUpEntries,
          },
          stored ?? { hardState: { ...hardState, commit: Math.max(hardState.commit, base.index) }, base, entries: [] },
        );
        transport.configure(peers);
        const reads = options.leaseReads ? ("lease" as const) : ("quorum" as const);
        const timing = { tickMillis: heartbeatInterval, electionMillis: electionTimeout, reads };
        return new RaftConsensus(raft, wal, state.index, host, transport, timing);
      },
      async serve(member) {
        if (!options.peer || options.peer.listen.length === 0) return;
        const { servePeers } = await import("./peer/server.ts");
        transport.listeners = await servePeers(member, options.peer);
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Who a member without data is. */
async function begin(options: MemberOptions): Promise<Joined & { cluster: NewCluster | undefined }> {
  const { name = DEFAULT_NAME, peerUrls = [DEFAULT_PEER_URL], initialClusterToken = DEFAULT_TOKEN, peer } = options;
  const cluster = parseInitialCluster(options.initialCluster ?? peerUrls.map((url) => `${name}=${url}`).join());
  checkInitialCluster(name, peerUrls, cluster);
  if (options.initialClusterState === "existing") {
    const { joinCluster } = await import("./peer/join.ts");
    return { ...(await joinCluster(name, cluster, peer?.clientTls)), cluster: undefined };
  }
  const created = newCluster(name, cluster, initialClusterToken);
  if (cluster.size > 1) {
    const { checkNotBootstrapped } = await import("./peer/join.ts");
    await checkNotBootstrapped(name, created.memberId, cluster, peer?.clientTls);
  }
  const { clusterId, memberId, membership } = created;
  return { identity: { clusterId, memberId }, members: membership.members, cluster: created };
}

function baseOf(cluster: NewCluster | undefined): { base?: Entry; hardState?: HardState } {
  if (!cluster) return {};
  const base: Entry = { ...FIRST, type: BASE, data: encodeBase(cluster.membership) };
  return { base, hardState: { term: FIRST.term, vote: 0n, commit: FIRST.index } };
}

/** Makes directories, and takes them for this process, all or none. Throws DirectoryLocked. */
function lockAll(directories: readonly string[]): { release(): void } {
  const locks: { release(): void }[] = [];
  const release = () => {
    for (const lock of locks) lock.release();
  };
  try {
    for (const dir of directories) {
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      locks.push(lockDirectory(dir));
    }
  } catch (error) {
    release();
    throw error;
  }
  return { release };
}

function refuseForeign(dataDir: string): void {
  if (existsSync(dataDir) && readdirSync(dataDir).includes("member")) {
    throw new Error(
      `${dataDir} is the data directory of an etcd, whose files kubun does not read; take a snapshot of that etcd ` +
        "('etcdctl snapshot save FILE'), and make a directory of it ('kubun store snapshot restore FILE --data-dir=DIR')",
    );
  }
}
