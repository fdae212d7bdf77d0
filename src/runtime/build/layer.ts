// Writes folders as layers.
import { createReadStream, createWriteStream, lstatSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { finished, pipeline } from "node:stream/promises";
import { type Header, type Pack, pack } from "tar-stream";
import { HashingStream } from "../images/compression.ts";

export interface LayerFile {
  /** Where it goes, without a leading slash. */
  name: string;
  /** What it is made of; a folder of its own if absent. */
  source?: string;
  mode?: number;
  uid?: number;
  gid?: number;
}

export interface BuiltLayer {
  file: string;
  /** Of the plain tar, which is both blob and diff. */
  digest: string;
  size: number;
}

const MODE = 0o7777;

async function add(archive: Pack, item: LayerFile, owners: boolean): Promise<void> {
  if (item.source === undefined) {
    archive.entry(
      { name: `${item.name}/`, type: "directory", mode: item.mode ?? 0o755, uid: item.uid ?? 0, gid: item.gid ?? 0, mtime: new Date(0) },
      "",
    );
    return;
  }
  const s = lstatSync(item.source);
  const header: Header = {
    name: item.name,
    mode: item.mode ?? s.mode & MODE,
    uid: item.uid ?? (owners ? s.uid : 0),
    gid: item.gid ?? (owners ? s.gid : 0),
    mtime: new Date(Math.floor(s.mtimeMs / 1000) * 1000),
  } as Header;
  if (s.isDirectory()) archive.entry({ ...header, name: `${item.name}/`, type: "directory" }, "");
  else if (s.isSymbolicLink()) archive.entry({ ...header, type: "symlink", linkname: readlinkSync(item.source) }, "");
  else if (s.isFile())
    await pipeline(createReadStream(item.source), archive.entry({ ...header, size: s.size }) as unknown as NodeJS.WritableStream);
  // Sockets and pipes are of a running system, and not of an image.
}

/** Writes a layer's tar. `owners` keeps the files' owners, else all are root's. */
export async function writeLayer(file: string, items: Iterable<LayerFile>, owners: boolean): Promise<BuiltLayer> {
  const archive = pack();
  const hash = new HashingStream();
  const out = createWriteStream(file);
  const written = pipeline(Readable.from(archive), hash, out);
  try {
    for (const item of items) await add(archive, item, owners);
    archive.finalize();
  } catch (error) {
    archive.destroy(error instanceof Error ? error : new Error(String(error)));
    await written.catch(() => {});
    throw error;
  }
  await written;
  await finished(out).catch(() => {});
  return { file, digest: hash.digest(), size: hash.bytes };
}

/** Everything in a folder, in the order of names. `skip` gets paths relative to it. */
export function* filesOf(folder: string, target: string, skip: (path: string) => boolean = () => false, under = ""): Generator<LayerFile> {
  for (const name of readdirSync(join(folder, under)).sort()) {
    const path = under === "" ? name : `${under}/${name}`;
    if (skip(path)) continue;
    const source = join(folder, path);
    yield { name: target === "" ? path : `${target}/${path}`, source };
    if (lstatSync(source).isDirectory()) yield* filesOf(folder, target, skip, path);
  }
}
