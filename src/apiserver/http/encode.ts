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

/** Encodes any object of the API into one format. */
export type Encode = (object: unknown) => Uint8Array;

/** The encoder of a format; its code is loaded when it is first asked for. */
export async function encoderOf(format: Format, pretty = false): Promise<Encode> {
  if (format === "json") return pretty ? (o) => Buffer.from(`${JSON.stringify(o, null, 2)}\n`) : (o) => Buffer.from(JSON.stringify(o));
  if (format === "yaml") {
    const { encodeYaml } = await import("../../api/codec/yaml.ts");
    return (o) => Buffer.from(encodeYaml(o));
  }
  throw new RangeError(`no encoder for ${format}`);
}

export type IncludeObject = "None" | "Metadata" | "Object";

export interface Form {
  readonly negotiated: Negotiated;
  readonly include: IncludeObject;
  readonly encode: Encode;
}

const utf8 = (s: string): Uint8Array => Buffer.from(s);
const comma = utf8(",");
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

/** One object. */
export function encodeEntry(info: KindInfo, entry: Entry, form: Form): Uint8Array {
  const { negotiated: n, encode } = form;
  if (isTable(n)) {
    const { resourceVersion } = entry.object.metadata;
    return encode(table(info, resourceVersion ? { resourceVersion } : {}, [row(info, entry, form.include)]));
  }
  if (isPartial(n)) return encode(partial(entry.object));
  if (n.format === "json" && !n.pretty) return entry.json;
  return n.pretty ? encode(entry.object) : entry.encoded(n.format, encode);
}

/** A list: in JSON without a copy of any item. */
export function encodeList(info: KindInfo, list: ListResult, form: Form): Uint8Array[] {
  const { negotiated: n, encode } = form;
  const metadata = {
    resourceVersion: list.resourceVersion,
    ...(list.continue ? { continue: list.continue } : {}),
    ...(list.remainingItemCount === undefined ? {} : { remainingItemCount: list.remainingItemCount }),
  };
  if (isTable(n))
    return [
      encode(
        table(
          info,
          metadata,
          list.entries.map((e) => row(info, e, form.include)),
        ),
      ),
    ];
  if (isPartial(n))
    return [
      encode({ kind: "PartialObjectMetadataList", apiVersion: metaVersion, metadata, items: list.entries.map((e) => partial(e.object)) }),
    ];
  const head = { kind: info.listKind, apiVersion: apiVersion(info), metadata };
  if (n.format !== "json" || n.pretty) return [encode({ ...head, items: list.entries.map((e) => e.object) })];
  const parts: Uint8Array[] = [utf8(`${JSON.stringify(head).slice(0, -1)},"items":[`)];
  list.entries.forEach((e, i) => {
    if (i > 0) parts.push(comma);
    parts.push(e.json);
  });
  parts.push(utf8("]}\n"));
  return parts;
}

const heads = Object.fromEntries(["ADDED", "MODIFIED", "DELETED"].map((t) => [t, utf8(`{"type":"${t}","object":`)])) as Record<
  string,
  Uint8Array
>;
const tail = utf8("}\n");

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
    for (const item of items) this.#frame(item, parts);
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  #frame(item: WatchItem, parts: Uint8Array[]): void {
    const { negotiated: n, encode } = this.#form;
    if (item.type !== "BOOKMARK" && item.type !== "ERROR" && n.format === "json" && !n.as) {
      parts.push(heads[item.type]!, item.entry.json, tail);
      return;
    }
    const object = this.#object(item);
    if (n.format === "json") {
      parts.push(utf8(`${JSON.stringify({ type: item.type, object })}\n`));
      return;
    }
    if (n.format === "protobuf") {
      const event = encode({ kind: "WatchEvent", apiVersion: "v1", type: item.type, object });
      const length = Buffer.alloc(4);
      length.writeUInt32BE(event.length);
      parts.push(length, event);
      return;
    }
    parts.push(encode({ type: item.type, object }));
  }

  #object(item: WatchItem): unknown {
    const { negotiated: n, include } = this.#form;
    if (item.type === "ERROR") return item.status;
    if (item.type === "BOOKMARK") {
      const mark = bookmark(this.#info.kind, apiVersion(this.#info), item.resourceVersion, item.initialEventsEnd);
      if (isPartial(n)) return partial(mark);
      return isTable(n)
        ? table(
            this.#info,
            { resourceVersion: item.resourceVersion },
            [{ cells: tableColumns(this.#info).map(() => ""), object: partial(mark) }],
            false,
          )
        : mark;
    }
    if (isPartial(n)) return partial(item.entry.object);
    if (!isTable(n)) return item.entry.object;
    const first = this.#first;
    this.#first = false;
    const { resourceVersion } = item.entry.object.metadata;
    return table(this.#info, { resourceVersion }, [row(this.#info, item.entry, include)], first);
  }
}
