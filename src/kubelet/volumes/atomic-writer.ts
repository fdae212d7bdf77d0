// Writes a set of files so that a reader sees all of the old or all of the new:
// the files stand in a folder named by time, `..data` is a symbolic link to it
// that is swapped by rename, and each name a link through `..data` (upstream's
// pkg/volume/util/atomic_writer.go).
import { chmod, chown, lstat, mkdir, readdir, readFile, readlink, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

export interface FileContent {
  data: Buffer;
  /** Permission bits. */
  mode: number;
  /** Owner, where it isn't root. */
  uid?: number;
}

/** Files by relative path. */
export type Payload = Map<string, FileContent>;

const dataLink = "..data";

async function current(dir: string): Promise<string | undefined> {
  try {
    return await readlink(join(dir, dataLink));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

async function listFiles(dir: string, prefix = ""): Promise<string[]> {
  const files: string[] = [];
  for (const entry of await readdir(join(dir, prefix), { withFileTypes: true })) {
    const path = prefix ? `${prefix}/${entry.name}` : entry.name;
    if (entry.isDirectory()) files.push(...(await listFiles(dir, path)));
    else files.push(path);
  }
  return files;
}

async function same(dir: string, payload: Payload): Promise<boolean> {
  const files = await listFiles(dir);
  if (files.length !== payload.size) return false;
  for (const [path, content] of payload) {
    if (!files.includes(path)) return false;
    const [data, stat] = await Promise.all([readFile(join(dir, path)), lstat(join(dir, path))]);
    if (!data.equals(content.data) || (stat.mode & 0o777) !== (content.mode & 0o777)) return false;
  }
  return true;
}

const timeName = (now: Date) =>
  `..${now.toISOString().replace(/[-:]/g, "_").replace(/T/, "_").replace(/\..*$/, "")}.${Math.floor(Math.random() * 1e9)}`;

/**
 * Makes the link of each name that has none, and removes those of other names;
 * false where nothing was to be done. What is no link isn't ours: a runtime makes
 * folders to mount other volumes on.
 */
async function link(dir: string, payload: Payload): Promise<boolean> {
  const tops = new Set([...payload.keys()].map((p) => p.split("/")[0]!));
  const present = await readdir(dir, { withFileTypes: true });
  const missing = [...tops].filter((t) => !present.some((p) => p.name === t));
  const left = present.filter((p) => p.isSymbolicLink() && !p.name.startsWith("..") && !tops.has(p.name));
  await Promise.all([
    ...missing.map((t) => symlink(join(dataLink, t), join(dir, t))),
    ...left.map((p) => rm(join(dir, p.name), { force: true })),
  ]);
  return missing.length + left.length > 0;
}

export interface Ownership {
  /** Group of every file, with read permission for it. */
  fsGroup?: number;
}

/**
 * Makes a folder hold exactly the payload. Does nothing, and answers false,
 * when it does already. Throws a RangeError for a path that leads outside.
 */
export async function writeAtomically(dir: string, payload: Payload, ownership: Ownership = {}): Promise<boolean> {
  for (const path of payload.keys()) {
    const parts = path.split("/");
    if (path.startsWith("/") || parts.includes("..") || path.startsWith("..") || path === "")
      throw new RangeError(`invalid path: ${JSON.stringify(path)}`);
  }
  const before = await current(dir);
  // A writer that was killed may have come to the swap and no further.
  if (before !== undefined && (await same(join(dir, before), payload))) return await link(dir, payload);

  const name = timeName(new Date());
  const root = join(dir, name);
  await mkdir(root, { mode: 0o755 });
  await chmod(root, ownership.fsGroup === undefined ? 0o755 : 0o2775);
  if (ownership.fsGroup !== undefined) await chown(root, 0, ownership.fsGroup);
  const folders = new Set<string>();
  for (const path of payload.keys()) {
    const parts = dirname(path).split("/");
    for (let i = 1; i <= parts.length; i++) if (parts[0] !== ".") folders.add(parts.slice(0, i).join("/"));
  }
  for (const folder of [...folders].sort()) {
    await mkdir(join(root, folder), { mode: 0o755 });
    if (ownership.fsGroup !== undefined) await chown(join(root, folder), 0, ownership.fsGroup);
  }
  await Promise.all(
    [...payload].map(async ([path, content]) => {
      const file = join(root, path);
      await writeFile(file, content.data, { mode: content.mode });
      if (content.uid !== undefined || ownership.fsGroup !== undefined) await chown(file, content.uid ?? 0, ownership.fsGroup ?? 0);
      await chmod(file, ownership.fsGroup === undefined ? content.mode : content.mode | 0o040);
    }),
  );

  const next = join(dir, "..data_tmp");
  await rm(next, { force: true });
  await symlink(name, next);
  await rename(next, join(dir, dataLink));

  await link(dir, payload);
  if (before !== undefined) await rm(join(dir, before), { recursive: true, force: true });
  return true;
}
