import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withPathInRoot } from "./open-in-root.ts";

test("no link leads out of the root", async () => {
  const dir = mkdtempSync(join(tmpdir(), "oir-"));
  try {
    mkdirSync(join(dir, "root/sub"), { recursive: true });
    writeFileSync(join(dir, "root/sub/file"), "inside");
    writeFileSync(join(dir, "secret"), "outside");
    symlinkSync(join(dir, "secret"), join(dir, "root/absolute"));
    symlinkSync("../secret", join(dir, "root/relative"));
    symlinkSync("sub/file", join(dir, "root/fine"));
    const read = (path: string) => withPathInRoot(join(dir, "root"), path, async (p) => readFileSync(p, "utf8"));
    expect(await read("sub/file")).toBe("inside");
    expect(await read("fine")).toBe("inside");
    for (const path of ["absolute", "relative", "../secret"]) expect(read(path)).rejects.toThrow("ENOENT");
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
