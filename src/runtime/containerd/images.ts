// Images that containerd can't pull from anywhere, made here and imported.
import { createReadStream, lstatSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Pack, pack } from "tar-stream";
import { readText, writeAtomic } from "../files.ts";
import { BUN_REPOSITORY, bunFingerprint, writeBunRoot } from "../images/bun.ts";
import { HashingStream } from "../images/compression.ts";
import { architecture, digestOf, type ImageConfig, type ProcessDefaults } from "../images/oci.ts";
import { pauseProgram } from "../pause.ts";
import { type ContainerdPaths, PAUSE_IMAGE } from "./config.ts";

/** containerd's namespace for what the CRI sees. */
const NAMESPACE = "k8s.io";

/** Imports an archive that `write` produces. @throws Error with what ctr says. */
export async function ctrImport(socket: string, write: (archive: Pack) => Promise<void>): Promise<void> {
  const child = Bun.spawn(["ctr", "--address", socket, "--namespace", NAMESPACE, "images", "import", "-"], {
    stdin: "pipe",
    stdout: "ignore",
    stderr: "pipe",
  });
  const archive = pack();
  const feed = (async () => {
    for await (const chunk of archive) {
      child.stdin.write(chunk as Uint8Array);
      await child.stdin.flush();
    }
    await child.stdin.end();
  })();
  // If ctr ends early, its message says more than the broken pipe.
  feed.catch(() => archive.destroy());
  await write(archive);
  archive.finalize();
  const [code, stderr] = await Promise.all([child.exited, new Response(child.stderr).text(), feed.catch(() => {})]);
  if (code !== 0) throw new Error(`ctr images import: ${stderr.trim()}`);
}

function put(archive: Pack, name: string, content: string | Uint8Array): void {
  archive.entry({ name, mode: 0o644 }, Buffer.from(content));
}

function putManifest(archive: Pack, name: string, diffId: string, defaults: ProcessDefaults): void {
  const config: ImageConfig = { architecture, os: "linux", config: defaults, rootfs: { type: "layers", diff_ids: [diffId] } };
  const json = JSON.stringify(config);
  const file = `${digestOf(json).slice(7)}.json`;
  put(archive, file, json);
  put(archive, "manifest.json", JSON.stringify([{ Config: file, RepoTags: [name], Layers: ["layer.tar"] }]));
}

/** The image that holds a pod's namespaces: one program of a few hundred bytes. */
export async function importPause(paths: ContainerdPaths): Promise<void> {
  const layer = pack();
  layer.entry({ name: "pause", mode: 0o755 }, Buffer.from(pauseProgram()));
  layer.finalize();
  const bytes = Buffer.concat(await Array.fromAsync(layer as AsyncIterable<Buffer>));
  await ctrImport(paths.socket, async (archive) => {
    put(archive, "layer.tar", bytes);
    putManifest(archive, PAUSE_IMAGE, digestOf(bytes), { Entrypoint: ["/pause"] });
  });
}

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

const BLOCK = 512;

/** Writes a folder as the archive's only layer, without a copy on disk; returns the layer's digest. */
async function putLayer(archive: Pack, root: string): Promise<string> {
  const entries = [...tree(root)];
  // A header and whole blocks an entry, and two empty blocks at the end.
  const size = entries.reduce((sum, e) => sum + BLOCK + Math.ceil(e.size / BLOCK) * BLOCK, 2 * BLOCK);
  const layer = pack();
  const hash = new HashingStream();
  const sink = archive.entry({ name: "layer.tar", size, mode: 0o644 });
  const written = pipeline(Readable.from(layer), hash, sink as unknown as NodeJS.WritableStream);
  for (const e of entries) {
    if (e.type === "file") {
      const entry = layer.entry({ name: e.name, mode: e.mode, size: e.size, mtime: new Date(0) });
      await pipeline(createReadStream(e.path), entry as unknown as NodeJS.WritableStream);
    } else {
      const linkname = e.type === "symlink" ? readlinkSync(e.path) : undefined;
      layer.entry({ name: e.type === "directory" ? `${e.name}/` : e.name, mode: e.mode, type: e.type, linkname, mtime: new Date(0) }, "");
    }
  }
  layer.finalize();
  await written;
  return hash.digest();
}

/** Imports kubun.dev/bun, unless this very Bun is there already. */
export async function ensureBunImage(paths: ContainerdPaths, present: boolean): Promise<void> {
  const marker = join(paths.root, "kubun-bun-image");
  const fingerprint = bunFingerprint();
  if (present && readText(marker) === fingerprint) return;
  // On the same file system as Bun, if it can be, so that the root is made of links.
  const root = mkdtempSync(join(paths.root, "kubun-bun-"));
  try {
    const { config } = writeBunRoot(root);
    await ctrImport(paths.socket, async (archive) => {
      const diffId = await putLayer(archive, root);
      putManifest(archive, `${BUN_REPOSITORY}:latest`, diffId, config ?? {});
    });
    writeAtomic(marker, fingerprint);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
