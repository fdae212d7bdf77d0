// Header blocks of SPDY/3.1 (section 2.6.10): pairs of length-prefixed texts,
// compressed as one stream a direction.
import { DICTIONARY_ID, spdyDictionary } from "./dictionary.ts";
import { Inflater } from "./inflate.ts";

/** Names in lower case; the values of one name joined by NUL, as on the wire. */
export type SpdyHeaders = Record<string, string>;

/**
 * Writes blocks as zlib's stored blocks: headers here are a few dozen bytes,
 * and without state there is nothing to keep in step. The empty block behind
 * each is the sync flush that readers wait for.
 */
export class HeaderWriter {
  #begun = false;

  encode(headers: SpdyHeaders): Uint8Array {
    const pairs = Object.entries(headers).map(([name, value]) => [Buffer.from(name.toLowerCase()), Buffer.from(value)] as const);
    const length = pairs.reduce((sum, [name, value]) => sum + 8 + name.length + value.length, 4);
    if (length > 0xffff) throw new RangeError(`SPDY headers of ${length} bytes`);
    const out = Buffer.alloc((this.#begun ? 0 : 6) + 5 + length + 5);
    let at = 0;
    if (!this.#begun) {
      this.#begun = true;
      at = out.writeUInt16BE(0x78bb, at);
      at = out.writeUInt32BE(DICTIONARY_ID, at);
    }
    at = out.writeUInt8(0, at);
    at = out.writeUInt16LE(length, at);
    at = out.writeUInt16LE(~length & 0xffff, at);
    at = out.writeUInt32BE(pairs.length, at);
    for (const pair of pairs) {
      for (const text of pair) {
        at = out.writeUInt32BE(text.length, at);
        at += text.copy(out, at);
      }
    }
    out.writeUInt32BE(0x0000ffff, at + 1);
    return out;
  }
}

/** Reads blocks that any compressor wrote. */
export class HeaderReader {
  readonly #inflater = new Inflater(spdyDictionary());

  /** Throws Error where the block is not right. */
  decode(block: Uint8Array): SpdyHeaders {
    const plain = Buffer.from(this.#inflater.push(block));
    const headers: SpdyHeaders = {};
    let at = 0;
    const number = () => {
      if (at + 4 > plain.length) throw new Error("SPDY header block cut off");
      at += 4;
      return plain.readUInt32BE(at - 4);
    };
    const text = () => {
      const length = number();
      if (at + length > plain.length) throw new Error("SPDY header block cut off");
      at += length;
      return plain.toString("utf8", at - length, at);
    };
    for (let left = number(); left > 0; left--) {
      const name = text();
      headers[name.toLowerCase()] = text();
    }
    return headers;
  }
}
