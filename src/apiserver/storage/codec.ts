// Objects as the store holds them: in upstream's protobuf form, or as compact
// JSON, without resourceVersion. Both are read whichever is written, as upstream does.
import { deepFreeze } from "../../api/equal.ts";
import type { KubeObject } from "../../api/object.ts";
import type { KeyValue } from "../../client/etcd.ts";

/** Begins every value in protobuf form. */
const protobufMagic = [0x6b, 0x38, 0x73, 0x00];

export interface ProtobufForm {
  decode(bytes: Uint8Array): KubeObject;
  /** Undefined for kinds that have no message, such as custom ones: those are kept as JSON. */
  encode(object: KubeObject): Uint8Array | undefined;
}

/** What new values are written in; upstream's --storage-media-type. */
export type StorageMediaType = "application/json" | "application/vnd.kubernetes.protobuf";

const text = new TextDecoder();

export class Codec {
  /** Values this process wrote or read, so that none is parsed twice. Same bytes, same object. */
  readonly #known = new WeakMap<Uint8Array, KubeObject>();
  readonly #protobuf: ProtobufForm;
  readonly #mediaType: StorageMediaType;

  constructor(protobuf: ProtobufForm, mediaType: StorageMediaType) {
    this.#protobuf = protobuf;
    this.#mediaType = mediaType;
  }

  /** The bytes of an object to be stored. The object must not change any more. */
  encode(object: KubeObject): Uint8Array {
    const compact = this.#mediaType === "application/json" ? undefined : this.#protobuf.encode(object);
    const bytes = compact ?? Buffer.from(JSON.stringify(object));
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
    if (protobufMagic.every((b, i) => value[i] === b)) return this.#protobuf.decode(value);
    return JSON.parse(text.decode(value)) as KubeObject;
  }
}
