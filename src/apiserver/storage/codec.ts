// Objects as the store holds them: compact JSON without resourceVersion, which
// upstream reads too. What upstream wrote as protobuf is read by the decoder
// that the server hands in.
import { deepFreeze } from "../../api/equal.ts";
import type { KubeObject } from "../../api/object.ts";
import type { KeyValue } from "../../client/etcd.ts";

/** Begins every value that upstream wrote in its protobuf form. */
const protobufMagic = [0x6b, 0x38, 0x73, 0x00];

export type ProtobufDecoder = (bytes: Uint8Array) => KubeObject;

const text = new TextDecoder();

export class Codec {
  /** Values this process wrote or read, so that none is parsed twice. Same bytes, same object. */
  readonly #known = new WeakMap<Uint8Array, KubeObject>();
  readonly #protobuf: ProtobufDecoder;

  constructor(protobuf: ProtobufDecoder) {
    this.#protobuf = protobuf;
  }

  /** The bytes of an object to be stored. The object must not change any more. */
  encode(object: KubeObject): Uint8Array {
    const bytes = Buffer.from(JSON.stringify(object));
    this.#known.set(bytes, object);
    return bytes;
  }

  /** The frozen object of a stored pair, resourceVersion set. */
  decode(kv: Pick<KeyValue, "value" | "modRevision">): KubeObject {
    const resourceVersion = String(kv.modRevision);
    const known = this.#known.get(kv.value);
    if (known?.metadata.resourceVersion === resourceVersion) return known;
    const object = known ? { ...known } : this.#parse(kv.value);
    object.metadata = { ...object.metadata, resourceVersion };
    deepFreeze(object);
    this.#known.set(kv.value, object);
    return object;
  }

  #parse(value: Uint8Array): KubeObject {
    if (protobufMagic.every((b, i) => value[i] === b)) return this.#protobuf(value);
    return JSON.parse(text.decode(value)) as KubeObject;
  }
}
