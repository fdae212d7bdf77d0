// HPACK encoding (RFC 7541). Characters over 0xff lose their high bits: fields
// are Latin-1, and gRPC percent-encodes or base64-encodes the rest.
import type { Output } from "../output.ts";
import { encodedLength, encode as huffmanEncode } from "./huffman.ts";
import { isKept } from "./kept.ts";
import { entrySize, STATIC } from "./static.ts";

/** Fields whose values seldom come twice: in the table they would only push out others. */
const VOLATILE = new Set(["content-length", "date", "etag", "grpc-message", "grpc-status-details-bin", "grpc-timeout", "traceparent"]);
/** Never in a table, here or at any hop (RFC 7541, section 7.1.3). */
const SECRET = new Set(["authorization", "cookie", "proxy-authorization", "set-cookie"]);

const staticNames = new Map<string, number>();
const staticFields = new Map<string, Map<string, number>>();
for (let i = STATIC.length - 1; i > 0; i--) {
  const [name, value] = STATIC[i]!;
  staticNames.set(name, i);
  if (value === "") continue;
  const values = staticFields.get(name) ?? new Map<string, number>();
  staticFields.set(name, values.set(value, i));
}

/** Most lists whose blocks are kept. */
const CACHED = 32;

interface Entry {
  name: string;
  value: string;
}

export class HpackEncoder {
  /** Entries from the oldest; #dropped of them have left before. */
  #entries: Entry[] = [];
  #dropped = 0;
  #size = 0;
  #maxSize: number;
  readonly #limit: number;
  /** Smallest and last size to announce before the next block; -1 for none. */
  #smallest = -1;
  /** name → value → number of the entry since the start. */
  readonly #fields = new Map<string, Map<string, number>>();
  /** Blocks of kept lists, which stay as they are while the table does. */
  readonly #cache = new Map<readonly string[], Uint8Array>();
  #changed = false;

  /** @param limit most bytes of the dynamic table, whatever the peer allows */
  constructor(limit = 4096) {
    this.#limit = limit;
    this.#maxSize = Math.min(limit, 4096);
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  resize(peer: number): void {
    const size = Math.min(peer, this.#limit);
    if (size === this.#maxSize) return;
    this.#smallest = this.#smallest < 0 ? size : Math.min(this.#smallest, size);
    this.#maxSize = size;
    this.#cache.clear();
    this.#evict(size);
  }

  /** Appends a header block for `fields`, names and values in turn. The blocks of lists that are kept are kept too. */
  encode(fields: readonly string[], out: Output): void {
    const known = this.#cache.get(fields);
    if (known) return out.append(known);
    const length = out.length;
    this.#changed = this.#smallest >= 0;
    this.#encode(fields, out);
    if (this.#changed) this.#cache.clear();
    else if (this.#cache.size < CACHED && isKept(fields)) this.#cache.set(fields, out.bytes.slice(out.start + length, out.end));
  }

  #encode(fields: readonly string[], out: Output): void {
    if (this.#smallest >= 0) {
      if (this.#smallest < this.#maxSize) integer(out, 0x20, 5, this.#smallest);
      integer(out, 0x20, 5, this.#maxSize);
      this.#smallest = -1;
    }
    for (let i = 0; i < fields.length; i += 2) this.#field(fields[i]!, fields[i + 1]!, out);
  }

  #field(name: string, value: string, out: Output): void {
    const fixed = staticFields.get(name)?.get(value);
    if (fixed !== undefined) return integer(out, 0x80, 7, fixed);
    const values = this.#fields.get(name);
    const number = values?.get(value);
    if (number !== undefined) return integer(out, 0x80, 7, this.#index(number));
    let nameIndex = staticNames.get(name) ?? 0;
    if (nameIndex === 0 && values) for (const any of values.values()) nameIndex = this.#index(any);
    const size = entrySize(name, value);
    const secret = SECRET.has(name);
    const indexed = !secret && !VOLATILE.has(name) && size <= this.#maxSize / 2;
    if (indexed) integer(out, 0x40, 6, nameIndex);
    else integer(out, secret ? 0x10 : 0, 4, nameIndex);
    if (nameIndex === 0) string(out, name);
    string(out, value);
    if (!indexed) return;
    this.#changed = true;
    this.#evict(this.#maxSize - size);
    const kept = this.#fields.get(name) ?? new Map<string, number>();
    this.#fields.set(name, kept.set(value, this.#dropped + this.#entries.length));
    this.#entries.push({ name, value });
    this.#size += size;
  }

  #index(number: number): number {
    return STATIC.length + this.#entries.length - 1 - (number - this.#dropped);
  }

  #evict(room: number): void {
    while (this.#entries.length > 0 && this.#size > room) {
      const { name, value } = this.#entries.shift()!;
      this.#dropped++;
      this.#size -= entrySize(name, value);
      const values = this.#fields.get(name)!;
      values.delete(value);
      if (values.size === 0) this.#fields.delete(name);
    }
  }
}

function integer(out: Output, pattern: number, prefix: number, value: number): void {
  const mask = (1 << prefix) - 1;
  if (value < mask) return out.byte(pattern | value);
  out.byte(pattern | mask);
  let left = value - mask;
  for (; left >= 0x80; left >>>= 7) out.byte((left & 0x7f) | 0x80);
  out.byte(left);
}

function string(out: Output, text: string): void {
  const coded = encodedLength(text);
  if (coded < text.length) {
    integer(out, 0x80, 7, coded);
    const at = out.reserve(coded);
    huffmanEncode(text, out.bytes, at);
  } else {
    integer(out, 0, 7, text.length);
    const at = out.reserve(text.length);
    for (let i = 0; i < text.length; i++) out.bytes[at + i] = text.charCodeAt(i);
  }
}
