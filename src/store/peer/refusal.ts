import { RpcError } from "../../rpc/types.ts";
import { Refused } from "../mvcc/errors.ts";

/** What another member refused, as this one's own refusal. */
export function refusalOf(error: unknown): unknown {
  if (!(error instanceof RpcError)) return error;
  return Refused.of(error.message) ?? new Refused("timeout-connection-lost", { cause: error });
}
