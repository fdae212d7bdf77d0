// The image kubun.dev/bun: a root with nothing but the Bun that runs kubun and
// what it loads. The big files are links to those of the host, so it costs no
// space, and pods share the program's memory with kubun.
import {
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { sharedObjects } from "./elf.ts";
import { architecture, digestOf, type ImageConfig } from "./oci.ts";
import type { ImageRecord, ImageStore } from "./store.ts";

export const BUN_REPOSITORY = "kubun.dev/bun";

/** Whether kubun is an executable of its own, with Bun inside. */
const compiled = () => Bun.main.startsWith("/$bunfs/");

const CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt";
const BUN = "/usr/local/bin/bun";

/** Shares a file's content where the file system lets us, else copies. Links point the way through, so it is the file that counts. */
function share(source: string, target: string): number {
  mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
  const real = realpathSync(source);
  try {
    linkSync(real, target);
  } catch (error) {
    if (!["EXDEV", "EPERM", "EMLINK"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    copyFileSync(real, target, constants.COPYFILE_FICLONE);
    chmodSync(target, 0o755);
  }
  return statSync(real).size;
}

interface Part {
  source: string;
  target: string;
}

function parts(program: string): Part[] {
  const list = [{ source: program, target: BUN }, ...sharedObjects(program).map((path) => ({ source: path, target: path }))];
  if (existsSync(CA_BUNDLE)) list.push({ source: CA_BUNDLE, target: CA_BUNDLE });
  return list;
}

/** Changes whenever one of the files does, without reading them. */
function fingerprint(list: readonly Part[]): string {
  const seen = list.map(({ source, target }) => {
    const s = statSync(source);
    return [target, s.dev, s.ino, s.size, s.mtimeMs];
  });
  return digestOf(JSON.stringify(["kubun.dev/bun", 1, Bun.version, Bun.revision, compiled(), seen]));
}

/** Writes the root into a folder; returns the bytes of its files. */
function fill(root: string, list: readonly Part[]): number {
  let size = 0;
  // As on Debian, so that both ways to a library lead to it.
  for (const name of ["bin", "lib", "lib64", "sbin"]) {
    mkdirSync(join(root, "usr", name), { recursive: true, mode: 0o755 });
    symlinkSync(`usr/${name}`, join(root, name));
  }
  for (const { source, target } of list) {
    const inside = join(root, target.replace(/^\/(bin|lib|lib64|sbin)\//, "/usr/$1/"));
    if (!existsSync(inside)) size += share(source, inside);
  }
  for (const name of ["dev", "proc", "sys", "etc", "root", "app", "home", "var/tmp"])
    mkdirSync(join(root, name), { recursive: true, mode: 0o755 });
  for (const name of ["tmp", "var/tmp"]) {
    mkdirSync(join(root, name), { recursive: true });
    chmodSync(join(root, name), 0o1777);
  }
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n");
  writeFileSync(join(root, "etc/group"), "root:x:0:\nnogroup:x:65534:\n");
  writeFileSync(join(root, "etc/nsswitch.conf"), "hosts: files dns\n");
  symlinkSync("bun", join(root, "usr/local/bin/bunx"));
  symlinkSync("bun", join(root, "usr/local/bin/node"));
  return size;
}

function config(layer: string): ImageConfig {
  const env = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "BUN_RUNTIME_TRANSPILER_CACHE_PATH=0"];
  if (compiled()) env.push("BUN_BE_BUN=1");
  return {
    architecture,
    os: "linux",
    config: { Env: env, Entrypoint: ["bun"], WorkingDir: "/", Labels: { "dev.kubun.bun.version": Bun.version } },
    rootfs: { type: "layers", diff_ids: [layer] },
  };
}

/** Puts the image into a store, unless it is there for this very Bun. Of the one before, `inUse` keeps what containers stand on. */
export async function ensureBunImage(store: ImageStore, inUse: ReadonlySet<string>): Promise<ImageRecord> {
  const program = realpathSync(process.execPath);
  const list = parts(program);
  const layer = fingerprint(list);
  const name = `${BUN_REPOSITORY}:latest`;
  const present = store.find(name);
  if (present?.layers.includes(layer) && store.hasLayer(layer)) return present;
  using _hold = store.hold([layer]);
  await store.buildLayer(layer, (diff) => fill(diff, list));
  if (present !== undefined) await store.remove(present.id, inUse);
  return store.add({ config: config(layer), names: [name], pinned: true });
}

/** Stands for the image's content: another Bun, or other libraries, give another one. */
export const bunFingerprint = (): string => fingerprint(parts(realpathSync(process.execPath)));

/** Writes the root file system and its config elsewhere, for other runtimes. */
export function writeBunRoot(root: string): { config: ImageConfig["config"] } {
  fill(root, parts(realpathSync(process.execPath)));
  return { config: config("").config };
}

/** Whether a name stands for the image; every tag does. */
export const isBunImage = (name: string): boolean => name === BUN_REPOSITORY || name.startsWith(`${BUN_REPOSITORY}:`);
