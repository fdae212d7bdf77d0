// Images that containerd can't pull from anywhere, made here and put into its
// stores: the layer as a blob, and unpacked as a snapshot of links.
import { createReadStream, createWriteStream, lstatSync, mkdirSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Pack, pack } from "tar-stream";
import { readText, writeAtomic } from "../../platform/files.ts";
import type { Channel } from "../../rpc/client.ts";
import { BUN_REPOSITORY, bunFingerprint, writeBunRoot } from "../images/bun.ts";
import { HashingStream } from "../images/compression.ts";
import { architecture, digestOf, type ImageConfig, type Manifest, MediaType, type ProcessDefaults } from "../images/oci.ts";
import { pauseProgram } from "../pause.ts";
import { type ContainerdPaths, PAUSE_IMAGE } from "./config.ts";
import { ContainerdStore, keeps } from "./store.ts";

/** Bytes read at once; few and large, for a file of a hundred megabytes. */
const CHUNK = 4 << 20;

interface TreeEntry {
  name: string;
  path: string;
  mode: number;
  type: "directory" | "symlink" | "file";
  size: number;
}

function* tree(root: string, under = ""): Generator<TreeEntry> {
  for (const entry of readdirSync(join(root, under)).sort()) {
    const name = under === "" ? entry : `${under}/${entry}`;
    const path = join(root, name);
    const s = lstatSync(path);
    const type = s.isDirectory() ? "directory" : s.isSymbolicLink() ? "symlink" : "file";
    yield { name, path, mode: s.mode & 0o7777, type, size: type === "file" ? s.size : 0 };
    if (type === "directory") yield* tree(root, name);
  }
}

async function pour(layer: Pack, root: string): Promise<void> {
  const mtime = new Date(0);
  for (const { name, path, mode, type, size } of tree(root)) {
    if (type === "file") {
      const entry = layer.entry({ name, mode, size, mtime });
      await pipeline(createReadStream(path, { highWaterMark: CHUNK }), entry as unknown as NodeJS.WritableStream);
    } else {
      const linkname = type === "symlink" ? readlinkSync(path) : undefined;
      layer.entry({ name: type === "directory" ? `${name}/` : name, mode, type, linkname, mtime }, "");
    }
  }
  layer.finalize();
}

/** Writes a folder as a layer; returns the layer's digest and its bytes. */
async function writeLayer(root: string, file: string): Promise<{ digest: string; size: number }> {
  const layer = pack();
  const hash = new HashingStream();
  const written = pipeline(Readable.from(layer), hash, createWriteStream(file, { highWaterMark: CHUNK }));
  await Promise.all([pour(layer, root), written]);
  return { digest: hash.digest(), size: lstatSync(file).size };
}

/** Writes what is in memory alone to the disk. */
async function flush(file: string): Promise<void> {
  const handle = await open(file);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Puts an image of one layer into containerd; `fill` writes its root and returns
 * how to run it. Resolves with what ends once the layer is on the disk: nothing
 * has to wait for that but what counts on it after a crash of the machine.
 */
async function putImage(
  paths: ContainerdPaths,
  channel: Channel,
  name: string,
  fill: (root: string) => ProcessDefaults,
): Promise<{ id: string; settled: Promise<void> }> {
  const scratch = join(paths.root, "kubun-import", digestOf(name).slice(-12));
  // An earlier start may have been killed.
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
  const file = join(scratch, "layer.tar");
  let defaults: ProcessDefaults = {};
  let size = 0;
  let id = "";
  await ContainerdStore.leased(paths, channel, async (store) => {
    const layer = await store.putSnapshot(async (root) => {
      defaults = fill(root);
      const made = await writeLayer(root, file);
      size = made.size;
      await store.putFile(file, made.digest, size);
      return made.digest;
    });
    const config: ImageConfig = { architecture, os: "linux", config: defaults, rootfs: { type: "layers", diff_ids: [layer] } };
    const configBytes = Buffer.from(JSON.stringify(config));
    id = await store.putBytes(configBytes, keeps.snapshot(layer));
    const manifest: Manifest = {
      schemaVersion: 2,
      mediaType: MediaType.manifest,
      config: { mediaType: MediaType.config, digest: id, size: configBytes.length },
      layers: [{ mediaType: MediaType.layer, digest: layer, size }],
    };
    const manifestBytes = Buffer.from(JSON.stringify(manifest));
    const digest = await store.putBytes(manifestBytes, keeps.content(id, layer));
    await store.putImage(name, MediaType.manifest, digest, manifestBytes.length);
  });
  return { id, settled: flush(file).finally(() => rmSync(scratch, { recursive: true, force: true })) };
}

/** An image that is in containerd. */
export interface MadeImage {
  name: string;
  /** Digest of its config, by which the CRI knows it. */
  id: string;
  /** Ends once a crash of the machine can't lose it. */
  settled: Promise<void>;
}

/** The image that holds a pod's namespaces: one program of a few hundred bytes. */
export async function putPause(paths: ContainerdPaths, channel: Channel): Promise<MadeImage> {
  const made = await putImage(paths, channel, PAUSE_IMAGE, (root) => {
    writeFileSync(join(root, "pause"), pauseProgram(), { mode: 0o755 });
    return { Entrypoint: ["/pause"] };
  });
  return { name: PAUSE_IMAGE, ...made };
}

const bunMarker = (paths: ContainerdPaths) => join(paths.root, "kubun-bun-image");

/** Whether the image that was put there is of this very Bun. */
export const isBunCurrent = (paths: ContainerdPaths): boolean => readText(bunMarker(paths)) === bunFingerprint();

/** kubun.dev/bun, with the Bun that runs this. */
export async function putBun(paths: ContainerdPaths, channel: Channel): Promise<MadeImage> {
  const fingerprint = bunFingerprint();
  const name = `${BUN_REPOSITORY}:latest`;
  const { id, settled } = await putImage(paths, channel, name, (root) => writeBunRoot(root).config ?? {});
  return { name, id, settled: settled.then(() => writeAtomic(bunMarker(paths), fingerprint)) };
}
