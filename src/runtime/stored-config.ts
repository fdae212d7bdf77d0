// The CRI's configs as records on disk hold them: protobuf in base64.
import type { DescMessage, JsonValue, MessageShape } from "@bufbuild/protobuf";
import { fromBinary, protobufEs, toBinary } from "../rpc/protobuf.ts";

/** JSON in records of version 1. */
export type StoredConfig = string | JsonValue;

export const encodeConfig = <D extends DescMessage>(schema: D, config: MessageShape<D>): StoredConfig =>
  Buffer.from(toBinary(schema, config)).toString("base64");

export function decodeConfig<D extends DescMessage>(schema: D, stored: StoredConfig): MessageShape<D> {
  if (typeof stored === "string") return fromBinary(schema, Buffer.from(stored, "base64"));
  return protobufEs().fromJson(schema, stored, { ignoreUnknownFields: true });
}
