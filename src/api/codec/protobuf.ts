// The application/vnd.kubernetes.protobuf format: "k8s", a zero byte, and a
// runtime.Unknown whose raw holds the object.
export {
  builtinMessage,
  decodeMessage,
  decodeProtobuf,
  isProtobuf,
  unwrapMessage,
} from "./protobuf-decode.ts";
export { encodeList, encodeMessage, encodeProtobuf, encodeWatchEvent, wrapMessage } from "./protobuf-encode.ts";
export { WireError } from "./wire.ts";
