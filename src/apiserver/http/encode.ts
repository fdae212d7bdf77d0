// Objects, lists, tables and events as the client asked for them. What an entry
// has encoded once is sent as it is.
import type { Format, Negotiated } from "../../api/codec/media.ts";
import { apiVersion, type KubeObject } from "../../api/object.ts";
import { tableColumns, tableRow } from "../../api/printers/mod.ts";
import type { KindInfo } from "../../api/schema.ts";
import { bookmark } from "../direct.ts";
import type { ListResult } from "../registry/read.ts";
import type { WatchItem } from "../registry/watch.ts";
import type { Entry } from "../storage/entry.ts";

/** Encodes objects of the API into one format. */
export interface Encoder {
  /** Any object that names its kind. */
  object(object: object): Uint8Array;
  /** A part of a list or an event, which `list` and `event` take; kept with the entry. */
  item(info: KindInfo, object: KubeObject): Uint8Array;
  /** One object from its item. */
  single(info: KindInfo, item: Uint8Array): Uint8Array;
  /** A list of items; undefined where this format has no shorter way than through the object. */
  list?(info: KindInfo, metadata: object, items: Uint8Array[]): Uint8Array[];
  /** One event of a watch around an encoded object. */
  event(type: string, object: Uint8Array): Uint8Array[];
}

const utf8 = (s: string): Uint8Array => Buffer.from(s);
const comma = utf8(",");
const close = utf8("]}\n");
const heads: Record<string, Uint8Array> = Object.fromEntries(
  ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"].map((t) => [t, utf8(`{"type":"${t}","object":`)]),
);
const tail = utf8("}\n");

const jsonEncoder: Encoder = {
  object: (o) => utf8(JSON.stringify(o)),
  item: (_info, o) => utf8(JSON.stringify(o)),
  single: (_info, item) => item,
  list(info, metadata, items) {
    const head = JSON.stringify({ kind: info.listKind, apiVersion: apiVersion(info), metadata });
    const parts: Uint8Array[] = [utf8(`${head.slice(0, -1)},"items":[`)];
    items.forEach((item, i) => {
      if (i > 0) parts.push(comma);
      parts.push(item);
    });
    parts.push(close);
    return parts;
  },
  event: (type, object) => [heads[type]!, object, tail],
};

/** The encoder of a format; its code is loaded when it is first asked for. */
export async function encoderOf(format: Format, pretty = false): Promise<Encoder> {
  if (format === "json" && !pretty) return jsonEncoder;
  if (format === "json") return { ...jsonEncoder, object: (o) => utf8(`${JSON.stringify(o, null, 2)}\n`), list: undefined };
  if (format === "protobuf") return (await import("./encode-protobuf.ts")).protobufEncoder;
  if (format === "cbor") return (await import("./encode-cbor.ts")).cborEncoder;
  const { encodeYaml } = await import("../../api/codec/yaml.ts");
  return {
    object: (o) => utf8(encodeYaml(o)),
    item: (_info, o) => utf8(encodeYaml(o)),
    single: (_info, item) => item,
    event: (type, object) => [
      utf8(`type: ${type}\nobject:\n`),
      utf8(Buffer.from(object).toString().replace(/^/gm, "  ").trimEnd()),
      utf8("\n---\n"),
    ],
  };
}

export type IncludeObject = "None" | "Metadata" | "Object";

export interface Form {
  readonly negotiated: Negotiated;
  readonly include: IncludeObject;
  readonly encoder: Encoder;
}

const metaVersion = "meta.k8s.io/v1";

const partial = (object: KubeObject): KubeObject => ({ kind: "PartialObjectMetadata", apiVersion: metaVersion, metadata: object.metadata });

interface Row {
  cells: unknown[];
  conditions?: unknown[];
  object?: unknown;
}

function row(info: KindInfo, entry: Entry, include: IncludeObject): Row {
  const { cells, conditions } = tableRow(info, entry.object);
  return {
    cells,
    ...(conditions ? { conditions } : {}),
    ...(include === "None" ? {} : { object: include === "Object" ? entry.object : partial(entry.object) }),
  };
}

function table(info: KindInfo, metadata: object, rows: Row[], withColumns = true) {
  return { kind: "Table", apiVersion: metaVersion, metadata, columnDefinitions: withColumns ? tableColumns(info) : [], rows };
}

const isTable = (n: Negotiated) => n.as?.kind === "Table";
const isPartial = (n: Negotiated) => n.as?.kind === "PartialObjectMetadata" || n.as?.kind === "PartialObjectMetadataList";

const itemOf = (info: KindInfo, entry: Entry, { negotiated: n, encoder }: Form): Uint8Array =>
  n.format === "json" ? entry.json : entry.encoded(n.format, (o) => encoder.item(info, o));

/** One object. */
export function encodeEntry(info: KindInfo, entry: Entry, form: Form): Uint8Array {
  const { negotiated: n, encoder } = form;
  if (isTable(n)) {
    const { resourceVersion } = entry.object.metadata ?? {};
    return encoder.object(table(info, resourceVersion ? { resourceVersion } : {}, [row(info, entry, form.include)]));
  }
  if (isPartial(n)) return encoder.object(partial(entry.object));
  if (n.pretty || entry.object.kind !== info.kind) return encoder.object(entry.object);
  return encoder.single(info, itemOf(info, entry, form));
}

/** A list: without encoding again what an entry has encoded. */
export function encodeList(info: KindInfo, list: ListResult, form: Form): Uint8Array[] {
  const { negotiated: n, encoder } = form;
  const metadata = {
    resourceVersion: list.resourceVersion,
    ...(list.continue ? { continue: list.continue } : {}),
    ...(list.remainingItemCount === undefined ? {} : { remainingItemCount: list.remainingItemCount }),
  };
  if (isTable(n))
    return [
      encoder.object(
        table(
          info,
          metadata,
          list.entries.map((e) => row(info, e, form.include)),
        ),
      ),
    ];
  if (isPartial(n))
    return [
      encoder.object({
        kind: "PartialObjectMetadataList",
        apiVersion: metaVersion,
        metadata,
        items: list.entries.map((e) => partial(e.object)),
      }),
    ];
  if (encoder.list)
    return encoder.list(
      info,
      metadata,
      list.entries.map((e) => itemOf(info, e, form)),
    );
  return [encoder.object({ kind: info.listKind, apiVersion: apiVersion(info), metadata, items: list.entries.map((e) => e.object) })];
}

/** Turns the events of one watch into frames. */
export class EventEncoder {
  readonly #info: KindInfo;
  readonly #form: Form;
  #first = true;

  constructor(info: KindInfo, form: Form) {
    this.#info = info;
    this.#form = form;
  }

  /** The frames of some events, joined. */
  frames(items: readonly WatchItem[]): Uint8Array {
    const parts: Uint8Array[] = [];
    for (const item of items) parts.push(...this.#form.encoder.event(item.type, this.#bytes(item)));
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  #bytes(item: WatchItem): Uint8Array {
    const { negotiated: n, encoder } = this.#form;
    if (item.type === "ERROR") return encoder.object(item.status);
    if (item.type === "BOOKMARK") return encoder.object(this.#bookmark(item.resourceVersion, item.initialEventsEnd));
    if (isPartial(n)) return encoder.object(partial(item.entry.object));
    if (!isTable(n)) return encoder.single(this.#info, itemOf(this.#info, item.entry, this.#form));
    const first = this.#first;
    this.#first = false;
    const { resourceVersion } = item.entry.object.metadata;
    return encoder.object(table(this.#info, { resourceVersion }, [row(this.#info, item.entry, this.#form.include)], first));
  }

  #bookmark(resourceVersion: string, initialEventsEnd?: boolean): object {
    const { negotiated: n } = this.#form;
    const mark = bookmark(this.#info.kind, apiVersion(this.#info), resourceVersion, initialEventsEnd);
    if (isPartial(n)) return partial(mark);
    if (!isTable(n)) return mark;
    return table(this.#info, { resourceVersion }, [{ cells: tableColumns(this.#info).map(() => ""), object: partial(mark) }], false);
  }
}
