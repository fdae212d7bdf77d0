// Members know each other by the ids of their cluster and their own, which
// stand in the metadata of every call between them.
import { Code, type HandlerContext, RpcError } from "../../rpc/types.ts";
import type { Identity } from "../wal/format.ts";

const CLUSTER = "kubun-cluster-id";
const FROM = "kubun-from";
const TO = "kubun-to";
const URLS = "kubun-peer-urls";

/** What a member that was removed is told. */
export const REMOVED = "the member has been permanently removed from the cluster";

/** @param urls where the caller is reached itself */
export const identityHeaders = ({ clusterId, memberId }: Identity, to: bigint, urls: readonly string[] = []): Record<string, string> => ({
  [CLUSTER]: clusterId.toString(16),
  [FROM]: memberId.toString(16),
  [TO]: to.toString(16),
  [URLS]: urls.join(),
});

/**
 * Where the member that calls says that it is reached.
 *
 * @throws RpcError InvalidArgument for what is no URL of a member
 */
export function callerUrls({ requestHeaders }: HandlerContext): string[] {
  const urls = (requestHeaders.get(URLS) ?? "").split(",").filter((url) => url !== "");
  const wrong = urls.find((url) => !/^https?:/.test(url) || !URL.canParse(url));
  if (wrong !== undefined) throw new RpcError(Code.InvalidArgument, `a member can't be reached at ${wrong}`);
  return urls;
}

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
