// HPACK decoding (RFC 7541). Strings come out as Latin-1, one character a byte.
import { Buffer } from "node:buffer";
import { ErrorCode, Http2Error } from "../errors.ts";
import { decode as huffmanDecode } from "./huffman.ts";
import { keep } from "./kept.ts";
import { ENTRY_OVERHEAD, entrySize, STATIC } from "./static.ts";

/** The same object comes again for the same bytes, as long as the table is the same. */
export interface DecodedBlock {
  /** Names and values in turn; empty when the list is over the limit. */
  readonly fields: readonly string[];
  /** The list is larger than the limit; the table is right all the same. */
  readonly tooLarge: boolean;
  /** A name or value holds what it may not (RFC 9113, section 8.2.1). */
  readonly malformed: boolean;
  /** What the reader has found out about it as a request; see checkRequest. */
  request?: number;
}

/** Blocks of at most so many bytes are kept when decoded, and so many of them. */
const CACHED_SIZE = 256;
const CACHED = 64;
/** Longer strings are decoded in memory of their own. */
const KEPT_SCRATCH = 16 * 1024;

const TEXT = new Uint8Array(128);
for (const c of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") TEXT[c.charCodeAt(0)] = 1;

function validName(name: string): boolean {
  const start = name.charCodeAt(0) === 58 ? 1 : 0;
  if (name.length === start) return false;
  for (let i = start; i < name.length; i++) if (TEXT[name.charCodeAt(i)] !== 1) return false;
  return true;
}

function validValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const c = value.charCodeAt(i);
    if (c === 0 || c === 10 || c === 13) return false;
  }
  return true;
}

const corrupt = (what: string) => new Http2Error(ErrorCode.COMPRESSION_ERROR, `header block: ${what}`);

export class HpackDecoder {
  readonly #limit: number;
  readonly #listLimit: number;
  /** A ring of entries; the newest stands at #newest. */
  readonly #names: string[];
  readonly #values: string[];
  readonly #wrong: Uint8Array;
  readonly #cache = new Map<string, DecodedBlock>();
  #newest = 0;
  #count = 0;
  #size = 0;
  #maxSize: number;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #end = 0;
  #scratch = new Uint8Array(0);
  #malformed = false;
  /** The block that is being decoded changes the table. */
  #changed = false;

  /**
   * @param limit most bytes of the dynamic table, as announced in SETTINGS_HEADER_TABLE_SIZE
   * @param listLimit most bytes of a decoded list, as RFC 9113 counts them (section 6.5.2)
   */
  constructor(limit = 4096, listLimit = 65536) {
    this.#limit = limit;
    this.#maxSize = limit;
    this.#listLimit = listLimit;
    const capacity = Math.floor(limit / ENTRY_OVERHEAD) + 1;
    this.#names = new Array(capacity).fill("");
    this.#values = new Array(capacity).fill("");
    this.#wrong = new Uint8Array(capacity);
  }

  /** Decodes one whole header block, [start, end) of `bytes`. Throws Http2Error with COMPRESSION_ERROR. */
  decode(bytes: Uint8Array, start = 0, end = bytes.length): DecodedBlock {
    if (end - start > CACHED_SIZE) return this.#decode(bytes, start, end);
    // Clients send most of their requests with the same few blocks.
    const key = latin1(bytes, start, end);
    const known = this.#cache.get(key);
    if (known) return known;
    const block = this.#decode(bytes, start, end);
    if (!this.#changed && this.#cache.size < CACHED) {
      keep(block.fields);
      this.#cache.set(key, block);
    }
    return block;
  }

  #decode(bytes: Uint8Array, start: number, end: number): DecodedBlock {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.#malformed = false;
    this.#changed = false;
    let fields: string[] = [];
    let size = 0;
    let mayResize = true;
    while (this.#at < end) {
      const first = bytes[this.#at]!;
      let name: string;
      let value: string;
      if (first & 0x80) {
        const index = this.#integer(7);
        if (index < STATIC.length) {
          if (index === 0) throw corrupt("index 0");
          const entry = STATIC[index]!;
          name = entry[0];
          value = entry[1];
        } else {
          const slot = this.#slot(index);
          name = this.#names[slot]!;
          value = this.#values[slot]!;
          if (this.#wrong[slot]) this.#malformed = true;
        }
      } else if ((first & 0xe0) === 0x20) {
        if (!mayResize) throw corrupt("table size update after a field");
        this.#resize(this.#integer(5));
        continue;
      } else {
        const indexed = (first & 0xc0) === 0x40;
        const index = this.#integer(indexed ? 6 : 4);
        name = index === 0 ? this.#string() : index < STATIC.length ? STATIC[index]![0] : this.#names[this.#slot(index)]!;
        value = this.#string();
        const wrong = (index === 0 || index >= STATIC.length ? !validName(name) : false) || !validValue(value);
        if (wrong) this.#malformed = true;
        if (indexed) this.#insert(name, value, wrong);
      }
      mayResize = false;
      size += name.length + value.length + ENTRY_OVERHEAD;
      if (size <= this.#listLimit) fields.push(name, value);
    }
    const tooLarge = size > this.#listLimit;
    if (tooLarge) fields = [];
    this.#bytes = bytes.subarray(0, 0);
    return { fields, tooLarge, malformed: this.#malformed };
  }

  #slot(index: number): number {
    const back = index - STATIC.length;
    if (back >= this.#count) throw corrupt(`index ${index} of a table of ${STATIC.length - 1 + this.#count}`);
    const slot = this.#newest - back;
    return slot < 0 ? slot + this.#names.length : slot;
  }

  /** Called before each change: an index may mean another entry from now on, also in the blocks that are kept. */
  #change(): void {
    if (this.#changed) return;
    this.#changed = true;
    this.#cache.clear();
  }

  #insert(name: string, value: string, wrong: boolean): void {
    const size = entrySize(name, value);
    this.#change();
    this.#evict(this.#maxSize - size);
    if (size > this.#maxSize) return;
    this.#newest = (this.#newest + 1) % this.#names.length;
    this.#names[this.#newest] = name;
    this.#values[this.#newest] = value;
    this.#wrong[this.#newest] = wrong ? 1 : 0;
    this.#count++;
    this.#size += size;
  }

  #evict(room: number): void {
    while (this.#count > 0 && this.#size > room) {
      let slot = this.#newest - this.#count + 1;
      if (slot < 0) slot += this.#names.length;
      this.#size -= entrySize(this.#names[slot]!, this.#values[slot]!);
      this.#names[slot] = this.#values[slot] = "";
      this.#count--;
    }
  }

  #resize(size: number): void {
    if (size > this.#limit) throw corrupt(`table size ${size} over the limit of ${this.#limit}`);
    this.#maxSize = size;
    this.#change();
    this.#evict(size);
  }

  /** RFC 7541, section 5.1; `prefix` is the number of bits in the first byte. */
  #integer(prefix: number): number {
    const mask = (1 << prefix) - 1;
    let value = this.#bytes[this.#at++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.#at >= this.#end) throw corrupt("integer cut off");
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw corrupt("integer too large");
  }

  #string(): string {
    if (this.#at >= this.#end) throw corrupt("string cut off");
    const huffman = (this.#bytes[this.#at]! & 0x80) !== 0;
    const length = this.#integer(7);
    const start = this.#at;
    const end = start + length;
    if (end > this.#end) throw corrupt("string cut off");
    this.#at = end;
    if (!huffman) return latin1(this.#bytes, start, end);
    // One long string must not hold its memory for the life of the connection.
    const scratch = length > KEPT_SCRATCH ? new Uint8Array(length * 2) : this.#room(length * 2);
    const decoded = huffmanDecode(this.#bytes, start, end, scratch);
    if (decoded < 0) throw corrupt("Huffman code");
    return latin1(scratch, 0, decoded);
  }

  #room(length: number): Uint8Array {
    if (this.#scratch.length < length) this.#scratch = new Uint8Array(Math.max(256, length));
    return this.#scratch;
  }
}

const latin1Slice = Buffer.prototype.latin1Slice as (this: Uint8Array, start: number, end: number) => string;
const latin1 = (bytes: Uint8Array, start: number, end: number) => latin1Slice.call(bytes, start, end);
