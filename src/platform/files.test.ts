import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readJson, writeAtomic, writeDurable } from "./files.ts";

function folder(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "kubun-files-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

const modeOf = (path: string) => statSync(path).mode & 0o777;

for (const write of [writeAtomic, writeDurable]) {
  test(`${write.name} replaces a file, gives it its permissions, and leaves nothing beside it`, () => {
    using dir = folder();
    const file = join(dir.path, "f");
    write(file, "one");
    expect([readFileSync(file, "utf8"), modeOf(file)]).toEqual(["one", 0o644]);
    chmodSync(file, 0o666);
    write(file, new Uint8Array([50]), 0o600);
    expect([readFileSync(file, "utf8"), modeOf(file)]).toEqual(["2", 0o600]);
    expect(readdirSync(dir.path)).toEqual(["f"]);
  });

  test(`${write.name} that fails leaves what was there, and nothing beside it`, () => {
    using dir = folder();
    mkdirSync(join(dir.path, "taken"));
    expect(() => write(join(dir.path, "taken"), "x")).toThrow("EISDIR");
    expect(() => write(join(dir.path, "none", "f"), "x")).toThrow("ENOENT");
    expect(readdirSync(dir.path)).toEqual(["taken"]);
  });
}

test("a file of JSON is absent, whole, or said to be damaged by its name", () => {
  using dir = folder();
  const file = join(dir.path, "f.json");
  expect(readJson(file)).toBeUndefined();
  writeFileSync(file, '{"a":1}');
  expect(readJson<unknown>(file)).toEqual({ a: 1 });
  writeFileSync(file, '{"a":');
  expect(() => readJson(file)).toThrow(`${file} is damaged: `);
});

test("readers see whole files while several processes write and are killed", async () => {
  using dir = folder();
  const file = join(dir.path, "f.json");
  // Longer than a page and of many lengths, so that two writers into one place would show.
  const writer = `
    import { writeAtomic } from ${JSON.stringify(join(import.meta.dir, "files.ts"))};
    for (let n = 0; ; n++) {
      const size = (n * 7919) % 60000;
      writeAtomic(${JSON.stringify(file)}, JSON.stringify({ size, text: "x".repeat(size) }));
      if (n === 20) console.log("writing");
    }`;
  const start = async () => {
    const child = Bun.spawn([process.execPath, "-e", writer], { stdout: "pipe", stderr: "inherit" });
    const reader = child.stdout.getReader();
    await reader.read();
    return child;
  };
  const check = () => {
    const read = readJson<{ size: number; text: string }>(file);
    expect(read?.text.length).toBe(read!.size);
  };
  for (let round = 0; round < 3; round++) {
    const writers = await Promise.all([start(), start()]);
    for (let i = 0; i < 300; i++) check();
    for (const child of writers) child.kill("SIGKILL");
    await Promise.all(writers.map((child) => child.exited));
    check();
  }
});
