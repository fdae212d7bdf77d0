// Pull failures in containerd's words, which kubectl's users know.
import { Code, RpcError } from "../../rpc/types.ts";
import { message } from "../errors.ts";
import { normalise } from "./reference.ts";

/** A name that no registry, or not this one, has. */
export class ImageNotFound extends Error {
  override name = "ImageNotFound";
}

/** A registry that wants other credentials. */
export class AccessDenied extends Error {
  override name = "AccessDenied";
}

/** `failed to pull and unpack image "…": …` with the status that fits. */
export function wrapPullError(name: string, error: unknown): RpcError {
  if (error instanceof RpcError) return error;
  let reference = name;
  try {
    reference = normalise(name);
  } catch {
    return new RpcError(Code.InvalidArgument, message(error), { cause: error });
  }
  const code = error instanceof ImageNotFound ? Code.NotFound : Code.Unknown;
  return new RpcError(code, `failed to pull and unpack image ${JSON.stringify(reference)}: ${message(error)}`, { cause: error });
}
