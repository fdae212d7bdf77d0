// /health, /livez and /readyz as etcd 3.6 answers them.
import type { Member } from "../member.ts";

const OK = { status: 200, headers: { "content-type": "text/plain; charset=utf-8" } };
const UNAVAILABLE = { ...OK, status: 503 };

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Throws why reads fail. */
async function read(member: Member, linearizable: boolean): Promise<void> {
  if (!member.running) throw new Error("etcdserver: server stopped");
  if (member.failure && !member.alarms.some((a) => a.kind === "nospace")) throw new Error(member.failure);
  if (linearizable) await member.consensus.readBarrier();
  member.state.mvcc.range({ key: Uint8Array.of(0x61), limit: 1 });
}

/** Of the first alarm that the query does not exclude. */
function alarmed(member: Member, excluded: ReadonlySet<string>): string | undefined {
  const alarm = member.alarms.find((a) => !excluded.has(a.kind.toUpperCase()));
  return alarm && `ALARM ${alarm.kind.toUpperCase()}`;
}

/** /health?exclude=ALARM&serializable=true */
export async function health(member: Member, query: URLSearchParams): Promise<Response> {
  const linearizable = query.get("serializable") !== "true";
  let reason = alarmed(member, new Set(query.getAll("exclude")));
  if (!reason && linearizable && member.consensus.leader === 0n) reason = "RAFT NO LEADER";
  reason ??= await read(member, linearizable).then(
    () => "",
    (error) => `RANGE ERROR:${messageOf(error)}`,
  );
  if (reason) member.metrics.unhealthy++;
  else member.metrics.healthy++;
  return new Response(`${JSON.stringify({ health: String(!reason), reason })}\n`, reason ? UNAVAILABLE : OK);
}

type Check = (member: Member) => void | Promise<void>;

const reads =
  (linearizable: boolean): Check =>
  (member) =>
    read(member, linearizable).catch((error) => {
      throw new Error(`range error: ${messageOf(error)}`);
    });

const CHECKS: Record<string, Check> = {
  data_corruption: ({ alarms }) => {
    if (alarms.some((a) => a.kind === "corrupt")) throw new Error("alarm activated: CORRUPT");
  },
  serializable_read: reads(false),
  linearizable_read: reads(true),
  non_learner: ({ isLearner }) => {
    if (isLearner) throw new Error("not supported for learner");
  },
};

const PROBES: Record<string, readonly string[]> = {
  "/livez": ["serializable_read"],
  "/readyz": ["data_corruption", "serializable_read", "linearizable_read", "non_learner"],
};

/** /livez, /readyz, and one check of theirs below them; ?verbose lists them, ?exclude=CHECK leaves some out. Undefined for another path. */
export function probe(member: Member, path: string, query: URLSearchParams): Promise<Response> | undefined {
  const [, name, only, ...more] = path.split("/");
  const all = PROBES[`/${name}`];
  if (!all || more.length > 0 || (only !== undefined && !all.includes(only))) return undefined;
  const excluded = new Set(query.getAll("exclude"));
  return run(member, only === undefined ? all.filter((c) => !excluded.has(c)) : [only], query.has("verbose"));
}

async function run(member: Member, names: readonly string[], verbose: boolean): Promise<Response> {
  let failed = false;
  let report = "";
  for (const name of names) {
    try {
      await CHECKS[name]!(member);
      report += `[+]${name} ok\n`;
    } catch (error) {
      failed = true;
      report += `[-]${name} failed: ${messageOf(error)}\n`;
    }
  }
  if (failed) return new Response(`${report}\n`, UNAVAILABLE);
  return new Response(verbose ? `${report}ok\n` : "ok\n", OK);
}
