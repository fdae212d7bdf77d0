// Unpacks a layer's tar into a folder for overlayfs: whiteouts become 0:0
// character devices and opaque folders an attribute
// (image-spec layer.md; kernel Documentation/filesystems/overlayfs.rst).
import {
  chmodSync,
  closeSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readlinkSync,
  rmSync,
  type Stats,
  symlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { extract, type Header } from "tar-stream";
import { mkfifo, mknod, setXattr } from "../../platform/ffi.ts";

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
const MAX_LINKS = 40;

function lstatOrNone(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/**
 * Where a path lies below a root for whoever has that root as "/": symbolic
 * links, absolute ones and "..", are followed without ever leaving it. Parts
 * that don't exist are taken as they are written.
 */
export function resolveInside(root: string, path: string): string {
  let done = "";
  let todo = path.split("/");
  let links = 0;
  while (todo.length > 0) {
    const [part, ...rest] = todo as [string, ...string[]];
    todo = rest;
    if (part === "" || part === ".") continue;
    if (part === "..") {
      done = done.slice(0, Math.max(0, done.lastIndexOf("/")));
      continue;
    }
    const next = `${done}/${part}`;
    if (lstatOrNone(root + next)?.isSymbolicLink()) {
      if (++links > MAX_LINKS) throw new Error(`too many symbolic links in ${JSON.stringify(path)}`);
      const target = readlinkSync(root + next);
      if (target.startsWith("/")) done = "";
      todo = [...target.split("/"), ...todo];
      continue;
    }
    done = next;
  }
  return root + done;
}

class LayerWriter {
  readonly #root: string;
  /** Folder as written in the tar → real folder; cleared when something is replaced. */
  readonly #folders = new Map<string, string>();
  readonly #folderTimes = new Map<string, Date>();
  /** Bytes of file content. */
  size = 0;

  constructor(root: string) {
    this.#root = root;
  }

  /** Makes what the entry describes; returns a descriptor if content follows. */
  begin(header: Header): number | undefined {
    const name = header.name.replace(/^(\.?\/)+/, "").replace(/\/+$/, "");
    if (name === "" || name === ".") {
      this.#attributes(this.#root, header);
      return undefined;
    }
    if (name.split("/").includes("..")) throw new Error(`layer entry leaves the root file system: ${JSON.stringify(header.name)}`);
    const folder = this.#folder(dirname(name));
    const base = basename(name);
    if (base === OPAQUE) {
      setXattr(folder, "trusted.overlay.opaque", Buffer.from("y"));
      return undefined;
    }
    if (base.startsWith(WHITEOUT)) {
      const hidden = base.slice(WHITEOUT.length);
      // AUFS' own bookkeeping (".wh..wh.plnk") hides nothing.
      if (hidden === "" || hidden === "." || hidden === ".." || hidden.startsWith(WHITEOUT)) return undefined;
      const path = join(folder, hidden);
      if (lstatOrNone(path) === undefined) mknod(path, "char", 0, 0, 0);
      return undefined;
    }
    return this.#make(join(folder, base), header);
  }

  write(fd: number, chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at);
    this.size += chunk.length;
  }

  end(fd: number, header: Header): void {
    closeSync(fd);
    const name = header.name.replace(/^(\.?\/)+/, "");
    this.#attributes(join(this.#folder(dirname(name)), basename(name)), header);
  }

  /** Folder times are set last, since making what is inside changes them. */
  finish(): void {
    for (const [path, time] of this.#folderTimes) if (lstatOrNone(path)?.isDirectory()) utimesSync(path, time, time);
  }

  #folder(name: string): string {
    if (name === "." || name === "") return this.#root;
    const known = this.#folders.get(name);
    if (known !== undefined) return known;
    const path = resolveInside(this.#root, name);
    const before = lstatOrNone(path);
    if (before && !before.isDirectory()) rmSync(path, { force: true });
    mkdirSync(path, { recursive: true, mode: 0o755 });
    this.#folders.set(name, path);
    return path;
  }

  #make(path: string, header: Header): number | undefined {
    const before = lstatOrNone(path);
    if (before && !(before.isDirectory() && header.type === "directory")) {
      rmSync(path, { recursive: true, force: true });
      this.#folders.clear();
    }
    switch (header.type) {
      case "directory":
        if (!before?.isDirectory()) mkdirSync(path);
        break;
      case "file":
      case "contiguous-file":
        return openSync(path, "wx", 0o600);
      case "link": {
        const target = (header.linkname ?? "").replace(/^(\.?\/)+/, "");
        const real = join(resolveInside(this.#root, dirname(target)), basename(target));
        linkSync(real, path);
        return undefined;
      }
      case "symlink":
        symlinkSync(header.linkname ?? "", path);
        break;
      case "character-device":
      case "block-device":
        mknod(
          path,
          header.type === "character-device" ? "char" : "block",
          header.mode ?? 0o600,
          header.devmajor ?? 0,
          header.devminor ?? 0,
        );
        break;
      case "fifo":
        mkfifo(path, header.mode ?? 0o600);
        break;
      default:
        return undefined;
    }
    this.#attributes(path, header);
    return undefined;
  }

  #attributes(path: string, header: Header): void {
    lchownSync(path, header.uid ?? 0, header.gid ?? 0);
    const time = header.mtime ?? new Date(0);
    if (header.type === "symlink") {
      lutimesSync(path, time, time);
      return;
    }
    // chown clears the set-user-ID bit, so the mode comes after it.
    chmodSync(path, (header.mode ?? 0o755) & 0o7777);
    for (const [key, value] of Object.entries((header.pax ?? {}) as Record<string, string>)) {
      // A value that wasn't UTF-8 has been damaged on the way; better none than a wrong one.
      if (key.startsWith("SCHILY.xattr.") && !value.includes("\ufffd")) setXattr(path, key.slice(13), Buffer.from(value));
    }
    if (header.type === "directory") this.#folderTimes.set(path, time);
    else utimesSync(path, time, time);
  }
}

/** Unpacks an uncompressed tar stream. Returns the bytes of content. Rejects at the first entry that can't be made. */
export async function unpackLayer(tar: Readable, root: string): Promise<number> {
  const parser = extract();
  const writer = new LayerWriter(root);
  tar.on("error", (error) => parser.destroy(error));
  tar.pipe(parser);
  for await (const entry of parser) {
    const fd = writer.begin(entry.header);
    if (fd === undefined) {
      entry.resume();
      continue;
    }
    try {
      for await (const chunk of entry) writer.write(fd, chunk as Uint8Array);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    writer.end(fd, entry.header);
  }
  writer.finish();
  return writer.size;
}
