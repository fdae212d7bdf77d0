// Builds images from a folder: its Dockerfile, as far as that needs no program
// to run, or else the folder as the root file system.
import { createReadStream, createWriteStream, existsSync, globSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, posix, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { type Pack, pack } from "tar-stream";
import { architecture, digestOf, type ImageConfig, type Manifest, MediaType, type ProcessDefaults } from "../images/oci.ts";
import { normalise } from "../images/reference.ts";
import { DockerfileError, expand, type Instruction, pairs, parseDockerfile, words } from "./dockerfile.ts";
import { type BuiltLayer, filesOf, type LayerFile, writeLayer } from "./layer.ts";

/** What an image is built on. */
export interface Base {
  config: ImageConfig;
  /** Blobs of its layers as files; absent where the runtime that imports the image has them. */
  layers?: { digest: string; size: number; file: string; mediaType: string }[];
}

export interface BuildOptions {
  dir: string;
  name: string;
  /** Dockerfile; looked for in the folder if absent. */
  file?: string;
  buildArgs?: Record<string, string>;
  /** Looks up what FROM names. @throws Error where that can't be. */
  base: (name: string) => Promise<Base>;
}

export interface BuiltImage {
  /** An OCI layout in a tar. */
  archive: string;
  id: string;
}

const FILES = ["Dockerfile", "Containerfile"];

/** Instructions that are known, and why they are refused. */
const REFUSED: Readonly<Record<string, string>> = {
  RUN: "RUN is not supported: kubun copies files and sets the image's configuration, and runs nothing while it builds",
  ONBUILD: "ONBUILD is not supported",
  SHELL: "SHELL is not supported, since RUN isn't",
  HEALTHCHECK: "HEALTHCHECK is not supported: Kubernetes has probes for it",
};

class Build {
  readonly #options: BuildOptions;
  readonly #work: string;
  readonly #ignored: (path: string) => boolean;
  #base: Base = { config: { architecture, os: "linux", rootfs: { type: "layers", diff_ids: [] } }, layers: [] };
  readonly #layers: BuiltLayer[] = [];
  #config: ProcessDefaults = {};
  /** From ARG and ENV; those of ENV win and stay. */
  readonly #arguments = new Map<string, string>();
  readonly #environment = new Map<string, string>();
  #started = false;

  constructor(options: BuildOptions, work: string) {
    this.#options = options;
    this.#work = work;
    this.#ignored = ignoreRules(options.dir);
  }

  async run(): Promise<BuiltImage> {
    const file = this.#options.file ?? FILES.map((f) => join(this.#options.dir, f)).find((f) => existsSync(f));
    if (file === undefined) await this.#plainFolder();
    else {
      for (const i of parseDockerfile(readFileSync(file, "utf8"))) await this.#apply(i);
      if (!this.#started) throw new Error(`${file}: no FROM instruction`);
    }
    return await this.#write();
  }

  async #plainFolder(): Promise<void> {
    this.#layers.push(await writeLayer(join(this.#work, "0.tar"), filesOf(this.#options.dir, ""), true));
    if (existsSync(join(this.#options.dir, "bin/sh"))) this.#config.Cmd = ["/bin/sh"];
  }

  async #apply(i: Instruction): Promise<void> {
    const refused = REFUSED[i.name];
    if (refused !== undefined) throw new DockerfileError(i.line, refused);
    if (i.name === "FROM") return await this.#from(i);
    if (i.name === "ARG") return this.#arg(i);
    if (!this.#started) throw new DockerfileError(i.line, "no build stage in current context: the first instruction has to be FROM");
    const text = this.#expand(i.rest);
    switch (i.name) {
      case "COPY":
      case "ADD":
        return await this.#copy(i);
      case "ENV":
        for (const [name, value] of pairs(i, text)) this.#environment.set(name, value);
        return;
      case "LABEL":
        this.#config.Labels = { ...this.#config.Labels, ...Object.fromEntries(pairs(i, text)) };
        return;
      case "ENTRYPOINT":
        this.#config.Entrypoint = i.json ?? ["/bin/sh", "-c", i.rest];
        // A CMD of the base was meant for the base's entrypoint.
        this.#config.Cmd = undefined;
        return;
      case "CMD":
        this.#config.Cmd = i.json ?? ["/bin/sh", "-c", i.rest];
        return;
      case "WORKDIR":
        return await this.#workdir(text);
      case "USER":
        this.#config.User = text;
        return;
      case "EXPOSE":
        for (const port of words(text)) this.#expose(i, port);
        return;
      case "VOLUME":
        this.#config.Volumes = { ...this.#config.Volumes, ...Object.fromEntries((i.json ?? words(text)).map((v) => [v, {}])) };
        return;
      case "STOPSIGNAL":
        this.#config.StopSignal = text;
        return;
      case "MAINTAINER":
        this.#config.Labels = { ...this.#config.Labels, maintainer: text };
        return;
      default:
        throw new DockerfileError(i.line, `unknown instruction: ${i.name}`);
    }
  }

  #expand(text: string): string {
    return expand(text, new Map([...this.#arguments, ...this.#environment]));
  }

  async #from(i: Instruction): Promise<void> {
    if (this.#started) throw new DockerfileError(i.line, "more than one FROM is not supported");
    this.#started = true;
    const [name = ""] = words(this.#expand(i.rest));
    if (name === "scratch") return;
    this.#base = await this.#options.base(name);
    this.#config = { ...this.#base.config.config };
    for (const pair of this.#config.Env ?? []) this.#environment.set(pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1));
  }

  #arg(i: Instruction): void {
    for (const word of words(this.#expand(i.rest))) {
      const at = word.indexOf("=");
      const name = at < 0 ? word : word.slice(0, at);
      const value = this.#options.buildArgs?.[name] ?? (at < 0 ? undefined : word.slice(at + 1));
      if (value !== undefined) this.#arguments.set(name, value);
    }
  }

  #expose(i: Instruction, port: string): void {
    const [, number, protocol = "tcp"] = /^(\d+)(?:\/(tcp|udp|sctp))?$/.exec(port) ?? [];
    if (number === undefined) throw new DockerfileError(i.line, `invalid containerPort: ${port}`);
    this.#config.ExposedPorts = { ...this.#config.ExposedPorts, [`${number}/${protocol}`]: {} };
  }

  #inImage(path: string): string {
    return posix.resolve("/", this.#config.WorkingDir ?? "/", path).slice(1);
  }

  async #workdir(path: string): Promise<void> {
    const target = this.#inImage(path);
    this.#config.WorkingDir = `/${target}`;
    if (target !== "") await this.#layer(foldersTo(target));
  }

  async #layer(items: Iterable<LayerFile>): Promise<void> {
    this.#layers.push(await writeLayer(join(this.#work, `${this.#layers.length}.tar`), items, false));
  }

  async #copy(i: Instruction): Promise<void> {
    if (i.flags.from !== undefined) throw new DockerfileError(i.line, `${i.name} --from is not supported: there is only one stage`);
    const list = (i.json ?? words(i.rest)).map((w) => this.#expand(w));
    if (list.length < 2) throw new DockerfileError(i.line, `${i.name} requires at least two arguments`);
    const target = list.pop()!;
    const sources = list.flatMap((pattern) => this.#sources(i, pattern));
    const intoFolder = target.endsWith("/") || target === "." || sources.length > 1;
    const place = this.#inImage(target);
    const owner = numericOwner(i);
    const items: LayerFile[] = [...foldersTo(intoFolder ? place : posix.dirname(place))];
    for (const source of sources) {
      if (statSync(source).isDirectory()) {
        // A folder's content is copied, not the folder.
        if (!intoFolder) items.push(...foldersTo(place).slice(-1));
        const inside = resolve(source).slice(resolve(this.#options.dir).length + 1);
        const skip = (path: string) => this.#ignored(inside === "" ? path : `${inside}/${path}`);
        items.push(...[...filesOf(source, place, skip)].map((f) => ({ ...f, ...owner })));
      } else {
        items.push({ name: intoFolder ? posix.join(place, basename(source)) : place, source, ...owner });
      }
    }
    await this.#layer(items);
  }

  #sources(i: Instruction, pattern: string): string[] {
    if (i.name === "ADD" && /^(https?|git):|^git@/.test(pattern))
      throw new DockerfileError(i.line, `ADD of ${pattern} is not supported: only files of the folder are`);
    if (i.name === "ADD" && /\.(tar|tgz|tbz2|txz|tar\.\w+)$/.test(pattern)) {
      throw new DockerfileError(i.line, `ADD of an archive is not supported: unpack ${pattern} and COPY what is in it`);
    }
    const root = resolve(this.#options.dir);
    const relative = posix.normalize(pattern).replace(/^\/+/, "");
    if (relative.startsWith("..")) throw new DockerfileError(i.line, `${pattern} is outside the folder that is built`);
    const found = /[*?[]/.test(relative)
      ? globSync(relative, { cwd: root })
          .sort()
          .map((p) => join(root, p))
      : [join(root, relative)];
    const there = found.filter((p) => existsSync(p) && !this.#ignored(p.slice(root.length + 1)));
    if (there.length === 0) throw new DockerfileError(i.line, `${i.name} failed: ${JSON.stringify(pattern)}: not found`);
    return there;
  }

  async #write(): Promise<BuiltImage> {
    const env = [...this.#environment].map(([k, v]) => `${k}=${v}`);
    const config: ImageConfig = {
      architecture: this.#base.config.architecture,
      os: "linux",
      config: { ...this.#config, ...(env.length > 0 ? { Env: env } : {}) },
      rootfs: { type: "layers", diff_ids: [...this.#base.config.rootfs.diff_ids, ...this.#layers.map((l) => l.digest)] },
    };
    const configBytes = Buffer.from(JSON.stringify(config));
    // Layers that the importer has stand in the manifest by their names alone.
    const below =
      this.#base.layers ??
      this.#base.config.rootfs.diff_ids.map((digest) => ({ digest, size: 0, file: undefined, mediaType: MediaType.layer }));
    const own = this.#layers.map((l) => ({ ...l, mediaType: MediaType.layer }));
    const manifest: Manifest = {
      schemaVersion: 2,
      mediaType: MediaType.manifest,
      config: { mediaType: MediaType.config, digest: digestOf(configBytes), size: configBytes.length },
      layers: [...below, ...own].map(({ digest, size, mediaType }) => ({ mediaType, digest, size })),
    };
    const archive = join(this.#work, "image.tar");
    const tar = pack();
    const written = pipeline(Readable.from(tar), createWriteStream(archive));
    const manifestBytes = Buffer.from(JSON.stringify(manifest));
    put(tar, "oci-layout", JSON.stringify({ imageLayoutVersion: "1.0.0" }));
    put(tar, "index.json", JSON.stringify(indexOf(manifestBytes, this.#options.name)));
    for (const bytes of [manifestBytes, configBytes]) put(tar, blobName(digestOf(bytes)), bytes);
    const seen = new Set<string>();
    for (const { digest, size, file } of [...below, ...own]) {
      if (file === undefined || seen.has(digest)) continue;
      seen.add(digest);
      await pipeline(createReadStream(file), tar.entry({ name: blobName(digest), size }) as unknown as NodeJS.WritableStream);
    }
    tar.finalize();
    await written;
    return { archive, id: digestOf(configBytes) };
  }
}

const blobName = (digest: string) => `blobs/sha256/${digest.slice("sha256:".length)}`;

function put(tar: Pack, name: string, content: string | Uint8Array): void {
  tar.entry({ name, mode: 0o644 }, Buffer.from(content));
}

function indexOf(manifest: Uint8Array, name: string) {
  const full = normalise(name);
  return {
    schemaVersion: 2,
    mediaType: MediaType.index,
    manifests: [
      {
        mediaType: MediaType.manifest,
        digest: digestOf(manifest),
        size: manifest.length,
        platform: { os: "linux", architecture },
        annotations: { "io.containerd.image.name": full, "org.opencontainers.image.ref.name": full.slice(full.lastIndexOf(":") + 1) },
      },
    ],
  };
}

/** A folder with those above it. */
function foldersTo(path: string): LayerFile[] {
  const parts = path.split("/").filter((p) => p !== "" && p !== ".");
  return parts.map((_, i) => ({ name: parts.slice(0, i + 1).join("/") }));
}

function numericOwner(i: Instruction): Pick<LayerFile, "uid" | "gid" | "mode"> {
  const { chown, chmod } = i.flags;
  const owner: Pick<LayerFile, "uid" | "gid" | "mode"> = {};
  if (chown !== undefined) {
    const [, uid, gid] = /^(\d+)(?::(\d+))?$/.exec(chown) ?? [];
    if (uid === undefined) throw new DockerfileError(i.line, `--chown=${chown}: only numbers are supported, such as 1000:1000`);
    owner.uid = Number(uid);
    owner.gid = Number(gid ?? uid);
  }
  if (chmod !== undefined) {
    if (!/^[0-7]{3,4}$/.test(chmod)) throw new DockerfileError(i.line, `--chmod=${chmod}: only octal modes are supported, such as 755`);
    owner.mode = Number.parseInt(chmod, 8);
  }
  return owner;
}

/** The rules of .dockerignore; the last that fits decides. */
function ignoreRules(dir: string): (path: string) => boolean {
  const file = join(dir, ".dockerignore");
  if (!existsSync(file)) return () => false;
  const rules = readFileSync(file, "utf8")
    .split("\n")
    .map((l) => l.trim())
    .filter((l) => l !== "" && !l.startsWith("#"))
    .map((l) => ({ keep: l.startsWith("!"), glob: new Bun.Glob(l.replace(/^!/, "").replace(/^\/|\/$/g, "")) }));
  return (path) => {
    const prefixes = path.split("/").map((_, i, all) => all.slice(0, i + 1).join("/"));
    const last = rules.findLast(({ glob }) => prefixes.some((p) => glob.match(p)));
    return last !== undefined && !last.keep;
  };
}

/** Builds, hands the archive to `use`, and takes the scratch files away. @throws Error saying what is wrong with the input. */
export async function buildImage<T>(options: BuildOptions, use: (image: BuiltImage) => Promise<T>): Promise<T> {
  if (!existsSync(options.dir) || !statSync(options.dir).isDirectory()) throw new Error(`${options.dir}: no such folder`);
  normalise(options.name);
  const work = mkdtempSync(join(tmpdir(), "kubun-build-"));
  try {
    return await use(await new Build(options, work).run());
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Copies an archive to a file, gzipped if the name says so. */
export async function saveArchive(archive: string, file: string): Promise<void> {
  const source = createReadStream(archive);
  if (/\.(gz|tgz)$/.test(file)) await pipeline(source, createGzip(), createWriteStream(file));
  else await pipeline(source, createWriteStream(file));
}
