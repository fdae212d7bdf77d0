// Maintenance.Downgrade: what a cluster is downgraded to is agreed on through
// the log. From then on it says that it is of that release, and its snapshots
// are of the kind that the release starts from.
import { DowngradeRequest_DowngradeAction as Action, type DowngradeRequest } from "../../rpc/gen/etcd/rpc_pb.ts";
import { Code, RpcError } from "../../rpc/types.ts";
import { Refused } from "../mvcc/errors.ts";
import { header, type ServerContext } from "./context.ts";

/** "3.5" or "3.5.2", without its patch. */
function minorOf(version: string): { major: number; minor: number } {
  const found = /^(\d+)\.(\d+)(\.\d+([-+].*)?)?$/.exec(version);
  if (!found) throw new Refused("downgrade-version-format");
  return { major: Number(found[1]), minor: Number(found[2]) };
}

/** @throws Refused in etcd's words */
export async function downgrade(context: ServerContext, { action, version }: DowngradeRequest) {
  const { member } = context;
  const answer = () => {
    const { major, minor } = minorOf(member.state.clusterVersion);
    return { header: header(context), version: `${major}.${minor}` };
  };
  if (action === Action.CANCEL) {
    await member.propose({ type: "downgrade", target: "" });
    return answer();
  }
  if (action !== Action.VALIDATE && action !== Action.ENABLE) throw new RpcError(Code.InvalidArgument, "etcdserver: unknown method");
  const target = minorOf(version);
  await member.consensus.readBarrier();
  const current = minorOf(member.state.clusterVersion);
  // One minor release at a time, as upgrades go too.
  if (member.state.downgradeTarget) throw new Refused("downgrade-in-process");
  if (target.major !== current.major || target.minor !== current.minor - 1) throw new Refused("downgrade-target");
  const before = answer();
  if (action === Action.ENABLE) await member.propose({ type: "downgrade", target: `${target.major}.${target.minor}.0` });
  return before;
}
