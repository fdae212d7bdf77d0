// The protobuf form: items are bare messages, objects stand in an envelope.
import { builtinMessage, encodeList, encodeMessage, encodeProtobuf, encodeWatchEvent, wrapMessage } from "../../api/codec/protobuf.ts";
import { apiVersion, type KubeObject } from "../../api/object.ts";
import type { Encoder } from "./encode.ts";

function messageOf(object: { apiVersion?: string; kind?: string }): string {
  const { apiVersion: version = "", kind = "" } = object;
  // Kinds of meta.k8s.io are kept under the core group.
  const name = builtinMessage({ apiVersion: version.replace(/^meta\.k8s\.io\//, ""), kind });
  if (!name) throw new RangeError(`no protobuf message for ${version} ${kind}`);
  return name;
}

export const protobufEncoder: Encoder = {
  object: (o) => encodeProtobuf(messageOf(o), o),
  item: (info, o: KubeObject) => encodeMessage(info.message, o),
  single: (info, item) => wrapMessage({ apiVersion: apiVersion(info), kind: info.kind }, item),
  list: (info, metadata, items) => [encodeList({ apiVersion: apiVersion(info), kind: info.listKind }, metadata, items)],
  event: (type, object) => [encodeWatchEvent(type, object)],
};
