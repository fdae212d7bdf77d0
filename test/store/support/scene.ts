// A cluster under load and under watch, to be harmed.
import { allServing, leaderOf } from "./checks.ts";
import { type ClusterOptions, type Kind, type Member, StoreCluster } from "./cluster.ts";
import { Compaction, listing } from "./compaction.ts";
import { Load, PREFIX } from "./load.ts";
import { Watcher } from "./watcher.ts";

/** What is tested: our store, or Debian's etcd, which shows that the tests ask nothing that etcd doesn't do. */
export const kind = (process.env.KUBUN_STORE_KIND ?? "kubun") as Kind;

export const TIMING = ["--heartbeat-interval", "50", "--election-timeout", "500"];

/** Those that are behind get snapshots. etcd 3.4 keeps 5 000 entries for them whatever it is told. */
export const SMALL_LOG = ["--snapshot-count", "60", ...(kind === "kubun" ? ["--snapshot-catchup-entries", "30"] : [])];

export interface Scene {
  cluster: StoreCluster;
  load: Load;
  /** One watch of all that can hop from member to member, and one that stays. */
  watchers: Watcher[];
}

export interface CompactedScene extends Scene {
  /** Clients that compact all the while. */
  compaction: Compaction;
}

export const others = (cluster: StoreCluster, m: Member) => cluster.members.filter((o) => o !== m);

/** Resolves with the leader that these have elected among them. */
export const elected = (cluster: StoreCluster, among: Member[]) => leaderOf(cluster, among);

/** Makes scenes, and ends them all when told. */
export function scenes() {
  const open: AsyncDisposable[] = [];
  const scene = async (options: Partial<ClusterOptions>, watchAt: readonly number[], compacting: boolean): Promise<Scene> => {
    const cluster = await StoreCluster.make({ kind, ...options, flags: [...TIMING, ...(options.flags ?? [])] });
    open.push(cluster);
    await allServing(cluster);
    const load = new Load(cluster.endpoints);
    const stays = watchAt.map((i) => cluster.endpoints[i]!);
    const compacted = compacting ? listing(load) : undefined;
    const watchers = [new Watcher(cluster.endpoints, PREFIX, { compacted }), new Watcher(stays, PREFIX, { compacted })];
    open.push({
      async [Symbol.asyncDispose]() {
        await load.stop().catch(() => undefined);
        for (const w of watchers) await w.stop();
      },
    });
    await load.progress(50);
    return { cluster, load, watchers };
  };
  return {
    /** @param watchAt the members that the watch that stays is at, one after the other */
    scene: (options: Partial<ClusterOptions> = {}, watchAt = [0]) => scene(options, watchAt, false),
    /** One in which the past is compacted away. */
    async compactedScene(options: Partial<ClusterOptions> = {}): Promise<CompactedScene> {
      const made = await scene(options, [0], true);
      const compaction = new Compaction(made.cluster, made.load);
      open.push(compaction);
      return { ...made, compaction };
    },
    async end(): Promise<void> {
      for (const o of open.splice(0).reverse()) await o[Symbol.asyncDispose]();
    },
  };
}
