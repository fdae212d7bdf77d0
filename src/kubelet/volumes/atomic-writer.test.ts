import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Payload, writeAtomically } from "./atomic-writer.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "aw-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const payload = (files: Record<string, string>, mode = 0o644): Payload =>
  new Map(Object.entries(files).map(([k, v]) => [k, { data: Buffer.from(v), mode }]));
const visible = () =>
  readdirSync(dir)
    .filter((f) => !f.startsWith(".."))
    .sort();

test("each name is a link through ..data to the newest files", async () => {
  expect(await writeAtomically(dir, payload({ a: "1", "d/b": "2" }, 0o400))).toBe(true);
  expect(visible()).toEqual(["a", "d"]);
  expect(readlinkSync(join(dir, "a"))).toBe("..data/a");
  expect([readFileSync(join(dir, "a"), "utf8"), readFileSync(join(dir, "d/b"), "utf8")]).toEqual(["1", "2"]);
  expect(statSync(join(dir, "a")).mode & 0o777).toBe(0o400);
});

test("a change swaps all at once and leaves nothing of the old", async () => {
  await writeAtomically(dir, payload({ a: "1", gone: "x" }));
  const before = readlinkSync(join(dir, "..data"));
  await writeAtomically(dir, payload({ a: "2", b: "3" }));
  expect(visible()).toEqual(["a", "b"]);
  expect(readlinkSync(join(dir, "..data"))).not.toBe(before);
  expect(readdirSync(dir).filter((f) => f.startsWith("..")).length).toBe(2);
});

test("the same content is not written again", async () => {
  await writeAtomically(dir, payload({ a: "1", "d/b": "2" }));
  const before = readlinkSync(join(dir, "..data"));
  expect(await writeAtomically(dir, payload({ a: "1", "d/b": "2" }))).toBe(false);
  expect(readlinkSync(join(dir, "..data"))).toBe(before);
});

test("what a writer that was killed after the swap has left undone is done by the next, though the content is the same", async () => {
  await writeAtomically(dir, payload({ a: "1", "d/b": "2" }));
  rmSync(join(dir, "a"));
  symlinkSync("..data/gone", join(dir, "gone"));
  mkdirSync(join(dir, "mount-point"));
  expect(await writeAtomically(dir, payload({ a: "1", "d/b": "2" }))).toBe(true);
  expect(visible()).toEqual(["a", "d", "mount-point"]);
  expect(readFileSync(join(dir, "a"), "utf8")).toBe("1");
  expect(await writeAtomically(dir, payload({ a: "1", "d/b": "2" }))).toBe(false);
});

test("a path that leads outside is refused", () => {
  for (const path of ["../x", "a/../../x", "/x", "..data"])
    expect(writeAtomically(dir, payload({ [path]: "" }))).rejects.toThrow(RangeError);
});
