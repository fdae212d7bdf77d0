// Compiles every kernel, wasm/<kernel>/index.ts, into wasm/build/<kernel>.wasm.
// A kernel whose sources are older than its output is left alone.
//   bun scripts/build-wasm.ts [--force]
import { existsSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "..");
const sources = join(root, "wasm");
const output = join(sources, "build");

/** Milliseconds since the epoch of the newest TypeScript file below a folder. */
function newest(folder: string): number {
  let latest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) latest = Math.max(latest, newest(path));
    else if (entry.name.endsWith(".ts")) latest = Math.max(latest, statSync(path).mtimeMs);
  }
  return latest;
}

function kernels(): string[] {
  return readdirSync(sources, { withFileTypes: true })
    .filter((e) => e.isDirectory() && existsSync(join(sources, e.name, "index.ts")))
    .map((e) => e.name)
    .sort();
}

async function compile(kernel: string): Promise<void> {
  // The compiler takes a third of a second to load: only when something changed.
  const asc = await import("assemblyscript/asc");
  let errors = "";
  const built: { wasm?: Uint8Array } = {};
  const { error } = await asc.main(
    [
      `wasm/${kernel}/index.ts`,
      "--baseDir",
      root,
      "--outFile",
      "kernel.wasm",
      "-O3",
      "--noAssert",
      "--enable",
      "simd",
      "--runtime",
      "stub",
      "--importMemory",
      "--initialMemory",
      "1",
      "--noColors",
    ],
    {
      stdout: { write: () => true },
      stderr: {
        write: (text: string | Uint8Array) => {
          errors += typeof text === "string" ? text : new TextDecoder().decode(text);
          return true;
        },
      },
      writeFile: (name, contents) => {
        if (name.endsWith(".wasm") && typeof contents !== "string") built.wasm = contents;
      },
    },
  );
  if (error || !built.wasm) throw new Error(`wasm/${kernel} does not compile:\n${errors || error?.message}`);
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(new Uint8Array(built.wasm)));
  const stray = imports.filter((i) => i.kind !== "memory").map((i) => `${i.module}.${i.name}`);
  if (stray.length > 0) throw new Error(`wasm/${kernel} imports ${stray.join(", ")}; a kernel may import nothing but memory`);
  mkdirSync(output, { recursive: true });
  const path = join(output, `${kernel}.wasm`);
  writeFileSync(`${path}.new`, built.wasm);
  renameSync(`${path}.new`, path);
}

/** Brings wasm/build up to date; returns the names of the kernels that were compiled. */
export async function buildWasm(options: { force?: boolean } = {}): Promise<string[]> {
  const shared = existsSync(join(sources, "shared")) ? newest(join(sources, "shared")) : 0;
  const compiled: string[] = [];
  for (const kernel of kernels()) {
    const path = join(output, `${kernel}.wasm`);
    const built = existsSync(path) ? statSync(path).mtimeMs : 0;
    if (!options.force && built >= Math.max(shared, newest(join(sources, kernel)))) continue;
    await compile(kernel);
    compiled.push(kernel);
  }
  return compiled;
}

if (import.meta.main) {
  const compiled = await buildWasm({ force: process.argv.includes("--force") });
  process.stdout.write(compiled.length > 0 ? `compiled ${compiled.join(", ")}\n` : "kernels are up to date\n");
}
