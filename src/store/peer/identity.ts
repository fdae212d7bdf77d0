// Members know each other by the ids of their cluster and their own, which
// stand in the metadata of every call between them.
import { Code, type HandlerContext, RpcError } from "../../rpc/types.ts";
import type { Identity } from "../wal/format.ts";

const CLUSTER = "kubun-cluster-id";
const FROM = "kubun-from";
const TO = "kubun-to";

/** What a member that was removed is told. */
export const REMOVED = "the member has been permanently removed from the cluster";

export const identityHeaders = ({ clusterId, memberId }: Identity, to: bigint): Record<string, string> => ({
  [CLUSTER]: clusterId.toString(16),
  [FROM]: memberId.toString(16),
  [TO]: to.toString(16),
});

/**
 * The member that calls.
 *
 * @throws RpcError FailedPrecondition when it means another cluster or member, or was removed from this one
 */
export function checkIdentity({ requestHeaders }: HandlerContext, own: Identity, wasRemoved: (id: bigint) => boolean): bigint {
  const cluster = requestHeaders.get(CLUSTER);
  if (cluster !== own.clusterId.toString(16)) {
    throw new RpcError(Code.FailedPrecondition, `cluster ID mismatch (local ${own.clusterId.toString(16)}, remote ${cluster})`);
  }
  const to = requestHeaders.get(TO);
  if (to !== own.memberId.toString(16)) {
    throw new RpcError(Code.FailedPrecondition, `member ID mismatch (local ${own.memberId.toString(16)}, meant ${to})`);
  }
  const from = BigInt(`0x${requestHeaders.get(FROM) ?? "0"}`);
  if (wasRemoved(from)) throw new RpcError(Code.FailedPrecondition, REMOVED);
  return from;
}
