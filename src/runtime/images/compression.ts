// What a layer or an archive may be packed with, told by its first bytes.
import { PassThrough, type Readable, Transform, type TransformCallback } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";

const unpackers: { magic: number[]; create: () => Transform }[] = [
  { magic: [0x1f, 0x8b], create: () => createGunzip() },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], create: () => createZstdDecompress() },
];

/** The plain content of a stream that may be gzipped or packed by zstd. */
export async function decompressed(source: Readable): Promise<Readable> {
  const head: Buffer[] = [];
  let length = 0;
  const iterator = source[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let ended = false;
  while (length < 4) {
    const { value, done } = await iterator.next();
    if (done) {
      ended = true;
      break;
    }
    head.push(value);
    length += value.length;
  }
  const first = Buffer.concat(head);
  const unpacker = unpackers.find(({ magic }) => magic.every((byte, i) => first[i] === byte));
  const out: Transform = unpacker?.create() ?? new PassThrough();
  void pump(out, first, ended ? undefined : iterator);
  return out;
}

async function pump(out: Transform, first: Buffer, rest: AsyncIterator<Buffer> | undefined): Promise<void> {
  try {
    let chunk: Buffer | undefined = first;
    while (chunk !== undefined && !out.destroyed) {
      if (!out.write(chunk)) {
        await new Promise<void>((resolve) => {
          const go = () => {
            out.off("drain", go);
            out.off("close", go);
            resolve();
          };
          out.on("drain", go);
          out.on("close", go);
        });
      }
      const next: IteratorResult<Buffer> | undefined = await rest?.next();
      chunk = next === undefined || next.done ? undefined : next.value;
    }
    if (out.destroyed) await rest?.return?.();
    else out.end();
  } catch (error) {
    out.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}

/** Passes bytes on and keeps their sha256. */
export class HashingStream extends Transform {
  readonly #hash = new Bun.CryptoHasher("sha256");
  #digest: string | undefined;
  bytes = 0;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#hash.update(chunk);
    this.bytes += chunk.length;
    done(null, chunk);
  }

  /** Reads what the consumer left, up to the end. */
  async drained(): Promise<void> {
    if (this.readableEnded || this.destroyed) return;
    this.unpipe();
    for await (const _ of this) {
      // Only the digest is wanted.
    }
  }

  /** "sha256:…" of all that has passed. */
  digest(): string {
    this.#digest ??= `sha256:${this.#hash.digest("hex")}`;
    return this.#digest;
  }
}
