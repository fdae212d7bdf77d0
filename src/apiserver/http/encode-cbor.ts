// The CBOR form: an event holds an object that is encoded already.
import { encodeCbor } from "../../api/codec/cbor.ts";
import type { Encoder } from "./encode.ts";

/** Every item begins with the tag that says what it is (RFC 8949, 3.4.6). */
const tagLength = 3;

/** An event of a type up to its object, whose place a null takes in what the codec wrote. */
const heads = new Map<string, Uint8Array>();

function head(type: string): Uint8Array {
  let bytes = heads.get(type);
  if (!bytes) {
    bytes = encodeCbor({ type, object: null }).slice(0, -1);
    heads.set(type, bytes);
  }
  return bytes;
}

export const cborEncoder: Encoder = {
  object: (o) => encodeCbor(o),
  item: (_info, o) => encodeCbor(o),
  single: (_info, item) => item,
  event: (type, object) => [head(type), object.subarray(tagLength)],
};
