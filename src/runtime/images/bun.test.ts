import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configOf } from "../testing/archives.ts";
import { BUN_REPOSITORY, ensureBunImage } from "./bun.ts";
import { digestOf } from "./oci.ts";
import { ImageStore } from "./store.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "kubun-bun-image-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test("another Bun gets an image of its own in place of the one before, whose layer stays where a container stands on it", async () => {
  const store = new ImageStore(dir);
  const old = Buffer.from("a layer of an earlier Bun");
  await store.buildLayer(digestOf(old), () => 0);
  const before = store.add({ config: configOf([old]), names: [`${BUN_REPOSITORY}:latest`], pinned: true });
  const image = await ensureBunImage(store, new Set([digestOf(old)]));
  expect(store.list().map((i) => i.id)).toEqual([image.id]);
  expect(image.id).not.toBe(before.id);
  expect([...image.layers, digestOf(old)].filter((l) => !store.hasLayer(l))).toEqual([]);
  expect(await ensureBunImage(store, new Set())).toEqual(image);
});
