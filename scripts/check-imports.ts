// Holds which way dependencies point:
//   cmd → each system → client, rpc → api → platform
// A system never imports another one; it reaches it through client/ or a stub
// generated from proto/. Only cmd/ and testing/ see several systems.
import { dirname, join, relative, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

/** What each room may import besides itself. Rooms not named are systems. */
const layers: Record<string, readonly string[]> = {
  platform: [],
  api: ["platform"],
  rpc: ["api", "platform"],
  client: ["rpc", "api", "platform"],
};
const system: readonly string[] = ["client", "rpc", "api", "platform"];
const all = "all" as const;

function allowed(room: string, file: string): readonly string[] | typeof all {
  if (room === "cmd" || room === "testing" || room === "main.ts") return all;
  // Tests may use what tests of several rooms share, and other systems as peers.
  if (file.endsWith(".test.ts") || file.endsWith("/testing.ts") || file.includes("/testing/")) return all;
  return layers[room] ?? system;
}

export interface Violation {
  file: string;
  imports: string;
}

export async function violations(): Promise<Violation[]> {
  const found: Violation[] = [];
  for await (const file of new Bun.Glob("src/**/*.ts").scan(root)) {
    const [, room] = file.split("/") as [string, string];
    const may = allowed(room, file);
    if (may === all) continue;
    const source = await Bun.file(join(root, file)).text();
    // Type-only imports count too, so the text is scanned instead of what is left after compiling.
    for (const [, path] of source.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)) {
      const target = relative(root, resolve(root, dirname(file), path!));
      const [top, other] = target.split("/") as [string, string];
      // A package's own file is the package; loading its index may be dear.
      if (top === "node_modules" || top === "wasm" || top === "proto" || (top === "src" && (other === room || may.includes(other))))
        continue;
      found.push({ file, imports: target });
    }
  }
  return found;
}

if (import.meta.main) {
  const found = await violations();
  for (const v of found)
    console.error(`${v.file} imports ${v.imports}: a system reaches another one through client/ or a stub from proto/`);
  if (found.length > 0) process.exit(1);
  console.log("dependencies point the right way");
}
