/** Cuts a stream of bytes into JSON values, one a line, as a watch sends them. */
export class JsonLines {
  /** Bytes of a line whose end has not come yet. */
  #rest: Uint8Array[] = [];

  /** The values whose lines end in this chunk. Throws a SyntaxError on a line that is no JSON. */
  push(chunk: Uint8Array): unknown[] {
    const values: unknown[] = [];
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(10, start);
      if (end < 0) break;
      let line = chunk.subarray(start, end);
      if (this.#rest.length > 0) {
        this.#rest.push(line);
        line = Buffer.concat(this.#rest);
        this.#rest = [];
      }
      if (line.length > 0) values.push(JSON.parse(Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString("utf8")));
      start = end + 1;
    }
    // A copy: the chunk's memory may be used again by the reader.
    if (start < chunk.length) this.#rest.push(chunk.slice(start));
    return values;
  }
}
