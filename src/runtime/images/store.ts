// Images on disk. Manifests and configs are blobs under their digest; a layer
// is unpacked once, under the digest of its tar, and shared by all images:
//
//   images.json            names, and what they stand for
//   blobs/sha256/<hex>     manifests and configs
//   layers/<hex>/diff      a layer's files, as an overlayfs lower folder
//   layers/<hex>/size      bytes; written last, so a layer without it isn't whole
//   tmp/                   work in progress; emptied on open
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { readJson, readText, writeAtomic, writeDurable } from "../../platform/files.ts";
import { decompressed, HashingStream } from "./compression.ts";
import { unpackLayer } from "./layer.ts";
import { digestOf, hex, type ImageConfig } from "./oci.ts";
import { formatReference, normalise, parseReference, repository } from "./reference.ts";

export interface ImageRecord {
  /** Digest of its config. */
  id: string;
  /** "docker.io/library/busybox:latest". */
  tags: string[];
  /** "docker.io/library/busybox@sha256:…", the digest being the manifest's. */
  digests: string[];
  /** Bytes of all its layers and its config. */
  size: number;
  /** Names of its layers, lowest first. */
  layers: string[];
  /** Not removed, and made again if it is missing. */
  pinned?: boolean;
}

interface Table {
  version: 1;
  images: ImageRecord[];
}

export interface NewImage {
  config: ImageConfig;
  /** The config as it was received, so that its digest stays. */
  configBytes?: Uint8Array;
  manifestBytes?: Uint8Array;
  names: readonly string[];
  /** Repositories under which the manifest's digest is known. */
  repositories?: readonly string[];
  pinned?: boolean;
  /** Names of layers that aren't digests of a tar; diff_ids otherwise. */
  layers?: readonly string[];
}

export class ImageStore {
  readonly root: string;
  readonly #images = new Map<string, ImageRecord>();
  /** Layers being unpacked now, so that two pulls share the work. */
  readonly #unpacking = new Map<string, Promise<void>>();
  /** Layers of images that are being made. */
  readonly #held = new Set<readonly string[]>();
  readonly #configs = new Map<string, ImageConfig>();

  /** Opens or makes a store. Only one process may have it open. */
  constructor(root: string) {
    this.root = root;
    for (const folder of ["blobs/sha256", "layers"]) mkdirSync(join(root, folder), { recursive: true, mode: 0o711 });
    rmSync(join(root, "tmp"), { recursive: true, force: true });
    mkdirSync(join(root, "tmp"), { mode: 0o700 });
    const table = readJson<Table>(join(root, "images.json"));
    if (table !== undefined && table.version !== 1)
      throw new Error(`${root}/images.json was written by a newer version (${table.version})`);
    for (const image of table?.images ?? []) this.#images.set(image.id, image);
  }

  list(): ImageRecord[] {
    return [...this.#images.values()];
  }

  /** Finds by name, by name with digest, by ID or by a unique beginning of the ID. */
  find(name: string): ImageRecord | undefined {
    const bare = name.replace(/^sha256:/, "");
    if (/^[0-9a-f]{4,64}$/.test(bare)) {
      const matches = this.list().filter((i) => i.id.startsWith(`sha256:${bare}`));
      if (matches.length === 1) return matches[0];
      if (bare.length === 64) return undefined;
    }
    const wanted = normalise(name);
    if (wanted.includes("@")) {
      // With both tag and digest, the digest decides.
      const r = parseReference(name);
      const byDigest = `${repository(r)}@${r.digest}`;
      return this.list().find((i) => i.digests.includes(byDigest));
    }
    return this.list().find((i) => i.tags.includes(wanted));
  }

  config(image: ImageRecord): ImageConfig {
    let config = this.#configs.get(image.id);
    if (config === undefined) {
      config = JSON.parse(readFileSync(this.#blob(image.id), "utf8")) as ImageConfig;
      this.#configs.set(image.id, config);
    }
    return config;
  }

  /** Lower folders for overlayfs, topmost first. */
  lowerDirs(image: ImageRecord): string[] {
    return image.layers.map((layer) => join(this.root, "layers", hex(layer), "diff")).reverse();
  }

  hasLayer(layer: string): boolean {
    return existsSync(join(this.root, "layers", hex(layer), "size"));
  }

  /** Keeps layers that no image has yet, from before they are added until their image is. */
  hold(layers: readonly string[]): Disposable {
    // An array of its own, so that each of two holds of the same layers ends by itself.
    const held = [...layers];
    this.#held.add(held);
    return { [Symbol.dispose]: () => void this.#held.delete(held) };
  }

  /** A folder for work in progress, on the store's file system. */
  temporary(): string {
    return mkdtempSync(join(this.root, "tmp", "w-"));
  }

  /**
   * Unpacks a layer, plain or compressed, unless it is there already.
   * @throws if the content is not what `diffId` promises.
   */
  addLayer(diffId: string, open: () => Readable | Promise<Readable>): Promise<void> {
    if (this.hasLayer(diffId)) return Promise.resolve();
    let work = this.#unpacking.get(diffId);
    if (work === undefined) {
      work = this.#unpack(diffId, open).finally(() => this.#unpacking.delete(diffId));
      this.#unpacking.set(diffId, work);
    }
    return work;
  }

  async #unpack(diffId: string, open: () => Readable | Promise<Readable>): Promise<void> {
    await this.buildLayer(diffId, async (diff) => {
      const tar = new HashingStream();
      const source = await decompressed(await open());
      source.on("error", (error) => tar.destroy(error));
      const size = await unpackLayer(source.pipe(tar), diff);
      // The tar parser stops at the end marker; padding after it counts for the digest too.
      await tar.drained();
      if (tar.digest() !== diffId) throw new Error(`layer is damaged: its digest is ${tar.digest()} in place of ${diffId}`);
      return size;
    });
  }

  /** Adds a layer whose files `fill` puts into the folder it is given; it returns their bytes. */
  async buildLayer(layer: string, fill: (diff: string) => Promise<number> | number): Promise<void> {
    const work = this.temporary();
    try {
      mkdirSync(join(work, "diff"), { mode: 0o755 });
      const size = await fill(join(work, "diff"));
      writeAtomic(join(work, "size"), String(size));
      const place = join(this.root, "layers", hex(layer));
      rmSync(place, { recursive: true, force: true });
      renameSync(work, place);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  /** Adds or renames an image whose layers are there already. */
  add(image: NewImage): ImageRecord {
    const configBytes = image.configBytes ?? Buffer.from(JSON.stringify(image.config));
    const id = digestOf(configBytes);
    const layers = [...(image.layers ?? image.config.rootfs.diff_ids)];
    const missing = layers.find((layer) => !this.hasLayer(layer));
    if (missing !== undefined) throw new Error(`layer ${missing} of the image is missing`);
    this.#put(id, configBytes);
    const manifest = image.manifestBytes === undefined ? undefined : digestOf(image.manifestBytes);
    if (manifest !== undefined && image.manifestBytes) this.#put(manifest, image.manifestBytes);

    const tags = image.names
      .map((name) => parseReference(name))
      .filter((r) => r.digest === undefined)
      .map(formatReference);
    const before = this.#images.get(id);
    for (const other of this.#images.values()) if (other.id !== id) other.tags = other.tags.filter((t) => !tags.includes(t));
    const repositories = image.repositories ?? image.names.map((name) => repository(parseReference(name)));
    const digests = manifest === undefined ? [] : repositories.map((r) => `${r}@${manifest}`);
    const size = configBytes.length + layers.reduce((sum, l) => sum + Number(readText(join(this.root, "layers", hex(l), "size")) ?? 0), 0);
    const record: ImageRecord = {
      id,
      tags: [...new Set([...(before?.tags ?? []), ...tags])],
      digests: [...new Set([...(before?.digests ?? []), ...digests])],
      size,
      layers,
      ...(image.pinned ? { pinned: true } : {}),
    };
    this.#images.set(id, record);
    this.#save();
    return record;
  }

  /**
   * Removes an image, or only the name if it has others. Layers that no other
   * image uses go with it; `inUse` keeps those that containers stand on.
   */
  async remove(name: string, inUse: ReadonlySet<string> = new Set()): Promise<boolean> {
    const image = this.find(name);
    if (image === undefined) return false;
    const byId = image.id.startsWith(name.startsWith("sha256:") ? name : `sha256:${name}`);
    const tag = byId ? undefined : normalise(name);
    if (tag !== undefined && image.tags.some((t) => t !== tag) && image.tags.includes(tag)) {
      image.tags = image.tags.filter((t) => t !== tag);
      this.#save();
      return true;
    }
    this.#images.delete(image.id);
    this.#save();
    await this.#collect(inUse);
    return true;
  }

  /** Removes layers and blobs that nothing refers to. */
  async #collect(inUse: ReadonlySet<string>): Promise<void> {
    for (const entry of readdirSync(join(this.root, "layers"))) {
      // Asked anew for each: images come while the one before is removed.
      const used = [...inUse, ...this.list().flatMap((i) => i.layers), ...[...this.#held].flat(), ...this.#unpacking.keys()];
      const layer = join(this.root, "layers", entry);
      if (used.some((l) => hex(l) === entry) || !existsSync(layer)) continue;
      const grave = join(this.temporary(), "layer");
      renameSync(layer, grave);
      await rm(grave, { recursive: true, force: true });
    }
    const blobs = new Set(this.list().flatMap((i) => [hex(i.id), ...i.digests.map((d) => hex(d.slice(d.indexOf("@") + 1)))]));
    for (const entry of readdirSync(join(this.root, "blobs/sha256"))) {
      if (!blobs.has(entry)) rmSync(join(this.root, "blobs/sha256", entry), { force: true });
    }
  }

  #blob(digest: string): string {
    return join(this.root, "blobs/sha256", hex(digest));
  }

  #put(digest: string, bytes: Uint8Array): void {
    if (!existsSync(this.#blob(digest))) writeDurable(this.#blob(digest), bytes);
  }

  #save(): void {
    const table: Table = { version: 1, images: this.list() };
    writeDurable(join(this.root, "images.json"), JSON.stringify(table, undefined, 1));
  }
}
