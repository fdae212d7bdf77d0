// Reads a bbolt file page by page, in order of the keys. Every page is checked
// against its header and its place; the format has no checksum of pairs.
import { CorruptFile, viewOf } from "../wal/format.ts";
import {
  BRANCH_ELEMENT,
  BUCKET_FLAG,
  BUCKET_HEADER,
  decodeMeta,
  getNumber,
  LEAF_ELEMENT,
  type Meta,
  PAGE_HEADER,
  PAGE_SIZE,
  Page,
} from "./format.ts";

/** Where the bytes come from. */
export interface PageSource {
  /** What errors call it. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** So many bytes from there; fewer only at the end. The result stays as it is. */
  read(at: number, length: number): Uint8Array;
}

export interface BoltPair {
  /** Views of the page's bytes. */
  key: Uint8Array;
  value: Uint8Array;
}

/** No tree of pages of 512 bytes or more is higher than this. */
const HIGHEST = 64;
/** Page sizes that a first meta page which can't be read is sought behind. */
const PAGE_SIZES = [4096, 8192, 16384, 32768, 65536];

interface Node {
  bytes: Uint8Array;
  /** Offset in the file. */
  at: number;
}

export class BoltReader {
  readonly #source: PageSource;
  readonly meta: Meta;

  /** @throws CorruptFile */
  constructor(source: PageSource) {
    this.#source = source;
    this.meta = this.#meta();
  }

  /** The names of the buckets, in order. Throws CorruptFile. */
  *buckets(): Generator<string> {
    for (const { key, value, flags } of this.#walk(this.#page(this.meta.root), 0)) {
      if (flags & BUCKET_FLAG) yield Buffer.from(key).toString("latin1");
      else throw this.#corrupt(this.meta.root * this.meta.pageSize, `a pair outside of buckets (${value.length} bytes)`);
    }
  }

  /** The pairs of a bucket in order of their keys; none if there is no such bucket. Throws CorruptFile. */
  *pairs(bucket: string): Generator<BoltPair> {
    for (const { key, value, flags } of this.#walk(this.#page(this.meta.root), 0)) {
      if (!(flags & BUCKET_FLAG) || Buffer.from(key).toString("latin1") !== bucket) continue;
      yield* this.#bucket(value);
      return;
    }
  }

  *#bucket(header: Uint8Array): Generator<BoltPair> {
    if (header.length < BUCKET_HEADER) throw this.#corrupt(0, "a bucket's header is cut short");
    const root = getNumber(viewOf(header), 0);
    const node = root === 0 ? { bytes: header.subarray(BUCKET_HEADER), at: 0 } : this.#page(root);
    let before: Uint8Array | undefined;
    for (const pair of this.#walk(node, 0)) {
      if (pair.flags & BUCKET_FLAG) throw this.#corrupt(node.at, "a bucket inside a bucket");
      if (before && Buffer.compare(before, pair.key) >= 0) throw this.#corrupt(pair.at, "keys out of order");
      before = pair.key;
      yield pair;
    }
  }

  *#walk(node: Node, depth: number): Generator<BoltPair & { flags: number; at: number }> {
    const { bytes, at } = node;
    if (bytes.length < PAGE_HEADER) throw this.#corrupt(at, "a page is cut short");
    const view = viewOf(bytes);
    const kind = view.getUint16(8, true);
    const count = view.getUint16(10, true);
    const slice = (from: number, length: number, element: number) => {
      if (from + length > bytes.length) throw this.#corrupt(at + element, "an element reaches beyond its page");
      return bytes.subarray(from, from + length);
    };
    if (PAGE_HEADER + count * LEAF_ELEMENT > bytes.length) throw this.#corrupt(at, `a page with ${count} elements`);
    if (kind === Page.leaf) {
      for (let i = 0; i < count; i++) {
        const e = PAGE_HEADER + i * LEAF_ELEMENT;
        const keyAt = e + view.getUint32(e + 4, true);
        const keySize = view.getUint32(e + 8, true);
        const key = slice(keyAt, keySize, e);
        yield { key, value: slice(keyAt + keySize, view.getUint32(e + 12, true), e), flags: view.getUint32(e, true), at: at + e };
      }
    } else if (kind === Page.branch) {
      if (depth === HIGHEST) throw this.#corrupt(at, "a tree without an end");
      for (let i = 0; i < count; i++) {
        yield* this.#walk(this.#page(getNumber(view, PAGE_HEADER + i * BRANCH_ELEMENT + 8)), depth + 1);
      }
    } else throw this.#corrupt(at, `a page of kind 0x${kind.toString(16)} where a branch or leaf should be`);
  }

  #page(id: number): Node {
    const { pageSize, pages } = this.meta;
    const at = id * pageSize;
    if (id < 2 || id >= pages) throw this.#corrupt(Math.min(at, this.#source.size), `a reference to page ${id} of ${pages}`);
    let bytes = this.#read(at, pageSize);
    const view = viewOf(bytes);
    if (getNumber(view, 0) !== id) throw this.#corrupt(at, `page ${id} says it is page ${getNumber(view, 0)}`);
    const overflow = view.getUint32(12, true);
    if (id + overflow >= pages) throw this.#corrupt(at, `page ${id} overflows into ${overflow} pages`);
    if (overflow > 0) bytes = this.#read(at, (overflow + 1) * pageSize);
    return { bytes, at };
  }

  #read(at: number, length: number): Uint8Array {
    const bytes = this.#source.read(at, length);
    if (bytes.length < length) throw this.#corrupt(at, "the file ends early");
    return bytes;
  }

  /** The valid meta with the higher transaction. */
  #meta(): Meta {
    const first = decodeMeta(this.#source.read(0, PAGE_SIZE));
    const sizes = typeof first === "string" ? PAGE_SIZES : [first.pageSize];
    const second = sizes.map((size) => decodeMeta(this.#source.read(size, PAGE_SIZE))).find((m) => typeof m !== "string");
    const found = [first, second].filter((m) => typeof m === "object").sort((a, b) => Number(b.transaction - a.transaction))[0];
    if (!found) throw this.#corrupt(0, first as string);
    const { pageSize, pages } = found;
    if (pageSize < 512 || pageSize & (pageSize - 1)) throw this.#corrupt(PAGE_HEADER, `pages of ${pageSize} bytes`);
    if (pages * pageSize > this.#source.size) throw this.#corrupt(this.#source.size, `the file ends before page ${pages}`);
    return found;
  }

  #corrupt(offset: number, what: string): CorruptFile {
    return new CorruptFile(this.#source.name, offset, what);
  }
}
