import { Code, RpcError } from "../types.ts";

// Few calls are compressed: zlib is loaded with the first.
const zlib = () => process.getBuiltinModule("node:zlib");

export const ENCODINGS = "identity,gzip";

/** Whether a list of encodings, as clients send it, has gzip. */
export const listsGzip = (value: string | undefined): boolean =>
  value?.split(",").some((name) => name.trim().split(";")[0] === "gzip") ?? false;

export const compress = (data: Uint8Array): Uint8Array => zlib().gzipSync(data, { level: 1 });

/** Throws RpcError: Unimplemented for another encoding, ResourceExhausted for a message over `max` bytes. */
export function decompress(data: Uint8Array, encoding: string | undefined, max: number): Uint8Array {
  if (encoding === undefined || encoding === "identity") {
    throw new RpcError(Code.Internal, "grpc: compressed flag set with identity or empty encoding");
  }
  if (encoding !== "gzip") {
    throw new RpcError(Code.Unimplemented, `grpc: Decompressor is not installed for grpc-encoding ${JSON.stringify(encoding)}`);
  }
  try {
    return zlib().gunzipSync(data, { maxOutputLength: max });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") throw tooLargeUnpacked(max);
    throw new RpcError(Code.Internal, "grpc: failed to decompress the received message", { cause: error });
  }
}

const tooLargeUnpacked = (max: number) =>
  new RpcError(Code.ResourceExhausted, `grpc: received message after decompression larger than max (${max + 1} vs. ${max})`);
