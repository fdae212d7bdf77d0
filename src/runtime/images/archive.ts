// Imports image archives: an OCI layout or what `docker save` writes, as a
// plain or compressed tar or, for a layout, as a folder.
import { createReadStream, createWriteStream, existsSync, lstatSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { extract } from "tar-stream";
import { decompressed } from "./compression.ts";
import { resolveInside } from "./layer.ts";
import { type Descriptor, digestOf, forThisMachine, hex, type ImageConfig, type Index, isIndex, isManifest, type Manifest } from "./oci.ts";
import type { ImageRecord, ImageStore } from "./store.ts";

interface DockerEntry {
  Config: string;
  RepoTags: string[] | null;
  Layers: string[];
}

/** Unpacks the archive's plain files; links become copies by name, for docker's old layout has them. */
async function unpackArchive(file: string, folder: string): Promise<Map<string, string>> {
  const links = new Map<string, string>();
  const parser = extract();
  const source = await decompressed(createReadStream(file));
  source.on("error", (error) => parser.destroy(error));
  source.pipe(parser);
  for await (const entry of parser) {
    const name = entry.header.name.replace(/^(\.?\/)+/, "");
    const path = resolveInside(folder, name);
    if (name.split("/").includes("..")) throw new Error(`archive entry leaves the archive: ${JSON.stringify(entry.header.name)}`);
    if (entry.header.type === "file") {
      mkdirSync(dirname(path), { recursive: true });
      await pipeline(entry, createWriteStream(path));
      continue;
    }
    if (entry.header.type === "symlink") links.set(name, join(dirname(name), entry.header.linkname ?? ""));
    if (entry.header.type === "link") links.set(name, (entry.header.linkname ?? "").replace(/^(\.?\/)+/, ""));
    entry.resume();
  }
  return links;
}

class Archive {
  readonly #folder: string;
  readonly #links: ReadonlyMap<string, string>;

  constructor(folder: string, links: ReadonlyMap<string, string>) {
    this.#folder = folder;
    this.#links = links;
  }

  has(name: string): boolean {
    return existsSync(this.path(name));
  }

  path(name: string): string {
    return resolveInside(this.#folder, this.#links.get(name) ?? name);
  }

  json(name: string): unknown {
    return JSON.parse(readFileSync(this.path(name), "utf8"));
  }

  /** A blob's bytes, checked against its digest. For manifests and configs. */
  blob(digest: string): Buffer {
    const bytes = readFileSync(this.path(`blobs/sha256/${hex(digest)}`));
    if (digestOf(bytes) !== digest) throw new Error(`blob ${digest} of the archive is damaged`);
    return bytes;
  }
}

function nameOf(descriptor: Descriptor): string | undefined {
  const a = descriptor.annotations ?? {};
  const full = a["io.containerd.image.name"];
  if (full !== undefined) return full;
  const ref = a["org.opencontainers.image.ref.name"];
  // A bare tag names nothing by itself.
  return ref !== undefined && /[/:]/.test(ref) ? ref : undefined;
}

function resolveManifest(archive: Archive, descriptor: Descriptor): { manifest: Manifest; bytes: Buffer } {
  const bytes = archive.blob(descriptor.digest);
  const value = JSON.parse(bytes.toString()) as unknown;
  if (isManifest(value)) return { manifest: value, bytes };
  if (!isIndex(value)) throw new Error(`${descriptor.digest} of the archive is neither a manifest nor an index`);
  const chosen = forThisMachine(value);
  if (chosen === undefined) throw new Error("the archive has no image for this machine's architecture");
  return resolveManifest(archive, chosen);
}

async function importLayout(store: ImageStore, archive: Archive, names: readonly string[]): Promise<ImageRecord[]> {
  const index = archive.json("index.json") as Index;
  const entries = index.manifests.some((m) => nameOf(m) !== undefined) ? index.manifests : [forThisMachine(index) ?? index.manifests[0]];
  const added: ImageRecord[] = [];
  for (const entry of entries) {
    if (entry === undefined) throw new Error("the archive's index is empty");
    const { manifest, bytes } = resolveManifest(archive, entry);
    const configBytes = archive.blob(manifest.config.digest);
    const config = JSON.parse(configBytes.toString()) as ImageConfig;
    using _hold = store.hold(config.rootfs.diff_ids);
    for (const [i, layer] of manifest.layers.entries()) {
      await store.addLayer(config.rootfs.diff_ids[i]!, () => createReadStream(archive.path(`blobs/sha256/${hex(layer.digest)}`)));
    }
    const own = nameOf(entry);
    const all = names.length > 0 ? names : own === undefined ? [] : [own];
    if (all.length === 0) throw new Error("the archive gives its image no name; name it with -t");
    added.push(store.add({ config, configBytes, manifestBytes: bytes, names: all }));
  }
  return added;
}

async function importDocker(store: ImageStore, archive: Archive, names: readonly string[]): Promise<ImageRecord[]> {
  const added: ImageRecord[] = [];
  for (const entry of archive.json("manifest.json") as DockerEntry[]) {
    const configBytes = readFileSync(archive.path(entry.Config));
    const config = JSON.parse(configBytes.toString()) as ImageConfig;
    using _hold = store.hold(config.rootfs.diff_ids);
    for (const [i, layer] of entry.Layers.entries()) {
      await store.addLayer(config.rootfs.diff_ids[i]!, () => createReadStream(archive.path(layer)));
    }
    const all = names.length > 0 ? names : (entry.RepoTags ?? []);
    if (all.length === 0) throw new Error("the archive gives its image no name; name it with -t");
    added.push(store.add({ config, configBytes, names: all }));
  }
  return added;
}

/**
 * Imports all images of an archive. `names` replaces the names that it has.
 * @throws Error saying what about the file is wrong.
 */
export async function importArchive(store: ImageStore, file: string, names: readonly string[] = []): Promise<ImageRecord[]> {
  if (lstatSync(file, { throwIfNoEntry: false }) === undefined) throw new Error(`${file}: no such file`);
  const work = statSync(file).isDirectory() ? undefined : store.temporary();
  try {
    const links = work === undefined ? new Map<string, string>() : await unpackArchive(file, work);
    const archive = new Archive(work ?? file, links);
    if (archive.has("index.json")) return await importLayout(store, archive, names);
    if (archive.has("manifest.json")) return await importDocker(store, archive, names);
    throw new Error(`${file} is neither an OCI layout nor a docker archive: it has no index.json and no manifest.json`);
  } finally {
    if (work !== undefined) await rm(work, { recursive: true, force: true });
  }
}
