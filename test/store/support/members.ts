// Members that come and go.
import { createClient } from "../../../src/rpc/client.ts";
import { Cluster, Maintenance } from "../../../src/rpc/gen/etcd/rpc_pb.ts";
import { ask, leaderOf, serving, statusOf } from "./checks.ts";
import type { Member, StoreCluster } from "./cluster.ts";
import { until } from "./commands.ts";

const WAIT = { timeout: 5000 };

/** The id of a member that runs. */
export const idOf = async (m: Member): Promise<bigint> => (await statusOf(m)).header!.memberId;

/**
 * Adds a member as an operator would: announces it at `at`, and starts it.
 *
 * @param member one that has never run, or whose data is wiped; default: a new one
 */
export async function addMember(
  cluster: StoreCluster,
  at: Member,
  { learner = false, member }: { learner?: boolean; member?: Member } = {},
): Promise<Member> {
  const known = cluster.members.filter((m) => m !== member);
  const added = member ?? (await cluster.extend());
  await until(`${added.name} to be taken`, async () => {
    await ask(at.endpoint, (c) => createClient(Cluster, c).memberAdd({ peerURLs: [added.peerUrl], isLearner: learner }, WAIT)).catch(
      (error: Error) => {
        // The answer to an attempt before this one was lost.
        if (!/[Pp]eer URLs already exists/.test(error.message)) throw error;
      },
    );
    return true;
  });
  added.start({ state: "existing", initial: [...known, added] });
  if (!learner) await serving(added);
  return added;
}

/** Makes a learner a voter, as soon as it has caught up. */
export async function promote(at: Member, learner: Member): Promise<void> {
  const id = await until(`${learner.name} to say its id`, () => idOf(learner));
  await until(
    `${learner.name} to be promoted`,
    () =>
      ask(at.endpoint, (c) => createClient(Cluster, c).memberPromote({ ID: id }, WAIT)).then(
        () => true,
        (error: Error) => {
          if (/not a learner/.test(error.message)) return true;
          throw error;
        },
      ),
    30_000,
    () => learner.log.slice(-1000),
  );
  await serving(learner);
}

/** Takes a member out of the cluster. */
export async function removeMember(at: Member, id: bigint): Promise<void> {
  await until("the member to be removed", () =>
    ask(at.endpoint, (c) => createClient(Cluster, c).memberRemove({ ID: id }, WAIT)).then(
      () => true,
      (error: Error) => {
        if (/member not found/.test(error.message)) return true;
        throw error;
      },
    ),
  );
}

/** Has the leader hand over. */
export async function moveLeader(leader: Member, to: Member): Promise<void> {
  const targetID = await idOf(to);
  await ask(leader.endpoint, (c) => createClient(Maintenance, c).moveLeader({ targetID }, WAIT));
}

/** Resolves once the cluster takes changes of its members: they must have been connected for a while. */
export async function mayChange(cluster: StoreCluster): Promise<void> {
  const at = await leaderOf(cluster);
  const probe = await until("the cluster to take a member", () =>
    ask(at.endpoint, (c) => createClient(Cluster, c).memberAdd({ peerURLs: ["http://127.0.0.1:9"], isLearner: true }, WAIT)),
  );
  await removeMember(at, probe.member!.ID);
}
