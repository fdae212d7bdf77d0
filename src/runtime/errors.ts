// Errors with the gRPC status that CRI clients tell apart.
import { Code, RpcError } from "../rpc/types.ts";

export const notFound = (what: string, id: string): RpcError =>
  new RpcError(Code.NotFound, `an error occurred when try to find ${what} ${JSON.stringify(id)}: not found`);

export const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Adds what was being done to an error, keeping its status. */
export function wrap(doing: string, error: unknown): RpcError {
  const code = error instanceof RpcError ? error.code : Code.Unknown;
  return new RpcError(code, `${doing}: ${message(error)}`, { cause: error });
}
