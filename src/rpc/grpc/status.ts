// google.rpc.Status, as grpc-status-details-bin carries it: code, message, and
// details of any type.
import { BinaryReader, BinaryWriter, WireType } from "../../../node_modules/@bufbuild/protobuf/dist/esm/wire/binary-encoding.js";
import type { ErrorDetail } from "../types.ts";

const HOST = "type.googleapis.com/";

export function encodeStatus(code: number, message: string, details: readonly ErrorDetail[]): Uint8Array {
  const writer = new BinaryWriter().tag(1, WireType.Varint).int32(code).tag(2, WireType.LengthDelimited).string(message);
  for (const { type, value } of details) {
    writer.tag(3, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(HOST + type);
    writer.tag(2, WireType.LengthDelimited).bytes(value).join();
  }
  return writer.finish();
}

/** The details of a status; none where the bytes are no status. */
export function decodeDetails(bytes: Uint8Array): ErrorDetail[] {
  try {
    return fieldsOf(bytes, 3).map((any) => {
      const [url = new Uint8Array(0)] = fieldsOf(any, 1);
      const [value = new Uint8Array(0)] = fieldsOf(any, 2);
      return { type: new TextDecoder().decode(url).replace(/^.*\//, ""), value };
    });
  } catch {
    // A proxy or an old server may send what it likes: the status itself stands in fields of its own.
    return [];
  }
}

/** Every value of a length-delimited field. */
function fieldsOf(bytes: Uint8Array, field: number): Uint8Array[] {
  const reader = new BinaryReader(bytes);
  const found: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    if (number === field && wire === WireType.LengthDelimited) found.push(reader.bytes());
    else reader.skip(wire);
  }
  return found;
}
