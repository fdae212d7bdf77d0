// Which shared libraries a program needs, from its ELF headers
// (elf(5): PT_INTERP, PT_DYNAMIC, DT_NEEDED), without running it.
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";

export interface ElfNeeds {
  /** Path of the dynamic linker; undefined for a static program. */
  interpreter?: string;
  /** Names such as "libc.so.6". */
  needed: string[];
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1n;
const DT_STRTAB = 5n;
const DT_STRSZ = 10n;

interface Segment {
  type: number;
  offset: number;
  address: bigint;
  size: number;
}

/** Reads a 64-bit little-endian ELF file. @throws Error if it is something else. */
export function elfNeeds(path: string): ElfNeeds {
  const fd = openSync(path, "r");
  try {
    const at = (offset: number, length: number) => {
      const buffer = Buffer.alloc(length);
      readSync(fd, buffer, 0, length, offset);
      return buffer;
    };
    const head = at(0, 64);
    if (head.readUInt32BE(0) !== 0x7f454c46 || head[4] !== 2 || head[5] !== 1) throw new Error(`${path} is not a 64-bit ELF file`);
    const entrySize = head.readUInt16LE(54);
    const table = at(Number(head.readBigUInt64LE(32)), entrySize * head.readUInt16LE(56));
    const segments: Segment[] = [];
    for (let i = 0; i < table.length; i += entrySize) {
      segments.push({
        type: table.readUInt32LE(i),
        offset: Number(table.readBigUInt64LE(i + 8)),
        address: table.readBigUInt64LE(i + 16),
        size: Number(table.readBigUInt64LE(i + 32)),
      });
    }
    const interp = segments.find((s) => s.type === PT_INTERP);
    const dynamic = segments.find((s) => s.type === PT_DYNAMIC);
    const interpreter = interp && at(interp.offset, interp.size).toString().replace(/\0.*$/, "");
    if (dynamic === undefined) return { interpreter, needed: [] };

    const entries = at(dynamic.offset, dynamic.size);
    const values = new Map<bigint, bigint[]>();
    for (let i = 0; i + 16 <= entries.length; i += 16) {
      const tag = entries.readBigUInt64LE(i);
      if (tag === 0n) break;
      values.set(tag, [...(values.get(tag) ?? []), entries.readBigUInt64LE(i + 8)]);
    }
    const address = values.get(DT_STRTAB)?.[0] ?? 0n;
    const home = segments.find((s) => s.type === PT_LOAD && address >= s.address && address < s.address + BigInt(s.size));
    if (home === undefined) return { interpreter, needed: [] };
    const strings = at(home.offset + Number(address - home.address), Number(values.get(DT_STRSZ)?.[0] ?? 0n));
    const needed = (values.get(DT_NEEDED) ?? []).map((o) => strings.toString("latin1", Number(o), strings.indexOf(0, Number(o))));
    return { interpreter, needed };
  } finally {
    closeSync(fd);
  }
}

/** Folders that the dynamic linker searches: its configuration, then its defaults (ld.so(8)). */
export function libraryFolders(): string[] {
  const triplet = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
  const configured: string[] = [];
  for (const file of existsSync("/etc/ld.so.conf.d") ? readdirSync("/etc/ld.so.conf.d").sort() : []) {
    for (const line of readFileSync(join("/etc/ld.so.conf.d", file), "utf8").split("\n"))
      if (line.startsWith("/")) configured.push(line.trim());
  }
  return [...new Set([...configured, `/lib/${triplet}`, `/usr/lib/${triplet}`, "/lib64", "/usr/lib64", "/lib", "/usr/lib"])];
}

/**
 * Everything that a program loads before it starts: linker and libraries, as
 * path on this machine. @throws Error naming a library that can't be found.
 */
export function sharedObjects(program: string): string[] {
  const folders = libraryFolders();
  const found = new Map<string, string>();
  const todo = [program];
  const interpreters = new Set<string>();
  for (let path = todo.pop(); path !== undefined; path = todo.pop()) {
    const { interpreter, needed } = elfNeeds(path);
    if (interpreter !== undefined) interpreters.add(interpreter);
    for (const name of needed) {
      if (found.has(name) || [...interpreters].some((i) => i.endsWith(`/${name}`))) continue;
      const folder = folders.find((f) => existsSync(join(f, name)));
      if (folder === undefined) throw new Error(`${program} needs ${name}, which is in none of ${folders.join(", ")}`);
      found.set(name, join(folder, name));
      todo.push(join(folder, name));
    }
  }
  return [...interpreters, ...found.values()];
}
