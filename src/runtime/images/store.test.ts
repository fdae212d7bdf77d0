import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { getXattr } from "../../platform/ffi.ts";
import { detachMount, mountOverlay } from "../../platform/mount.ts";
import { configOf, dockerArchive, type Entry, ociArchive, tarOf } from "../testing/archives.ts";
import { importArchive } from "./archive.ts";
import { resolveInside, unpackLayer } from "./layer.ts";
import { digestOf } from "./oci.ts";
import { ImageStore } from "./store.ts";

const root = process.getuid?.() === 0;
if (!root) console.log("skipped: layers with owners and devices need root");
const dir = mkdtempSync(join(tmpdir(), "kubun-store-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
let n = 0;
const fresh = () => {
  const path = join(dir, `d${n++}`);
  mkdirSync(path);
  return path;
};
const unpack = async (entries: Entry[], into = fresh()) => {
  const size = await unpackLayer(Readable.from([await tarOf(entries)]), into);
  return { into, size };
};

describe.skipIf(!root)("layers", () => {
  test("files keep mode, owner and time; links are what they were", async () => {
    const mtime = new Date(1_600_000_000_000);
    const { into, size } = await unpack([
      { name: "bin/", mode: 0o711, mtime },
      { name: "bin/su", mode: 0o4755, uid: 1, gid: 2, mtime, content: "binary" },
      { name: "bin/sh", type: "symlink", linkname: "/bin/su", content: "" },
      { name: "bin/again", type: "link", linkname: "bin/su", content: "" },
    ]);
    const su = lstatSync(join(into, "bin/su"));
    expect([su.mode & 0o7777, su.uid, su.gid, su.mtimeMs, su.nlink]).toEqual([0o4755, 1, 2, mtime.getTime(), 2]);
    expect(lstatSync(join(into, "bin")).mode & 0o777).toBe(0o711);
    expect(lstatSync(join(into, "bin")).mtimeMs).toBe(mtime.getTime());
    expect(size).toBe(6);
  });

  test("whiteouts and opaque folders hide what is below them in an overlay", async () => {
    const lower = (
      await unpack([
        { name: "a/one", content: "1" },
        { name: "a/two", content: "2" },
        { name: "b/three", content: "3" },
      ])
    ).into;
    const upper = (
      await unpack([
        { name: "a/.wh.one", content: "" },
        { name: "b/" },
        { name: "b/.wh..wh..opq", content: "" },
        { name: "b/new", content: "4" },
      ])
    ).into;
    expect(getXattr(join(upper, "b"), "trusted.overlay.opaque")?.toString()).toBe("y");
    const [target, top, work] = [fresh(), fresh(), fresh()];
    mountOverlay(target, [upper, lower], top, work);
    try {
      expect(readdirSync(join(target, "a"))).toEqual(["two"]);
      expect(readdirSync(join(target, "b"))).toEqual(["new"]);
    } finally {
      detachMount(target);
    }
  });

  test("a later entry replaces an earlier one of another kind", async () => {
    const { into } = await unpack([
      { name: "x/in", content: "1" },
      { name: "x", type: "symlink", linkname: "y", content: "" },
      { name: "y/", mode: 0o755 },
      { name: "x/through", content: "2" },
    ]);
    expect(lstatSync(join(into, "x")).isSymbolicLink()).toBe(true);
    expect(readFileSync(join(into, "y/through"), "utf8")).toBe("2");
  });

  test("nothing is written outside the root, by dots, by links or by both", async () => {
    const outside = fresh();
    const attempts: Entry[][] = [[{ name: "../escape", content: "x" }], [{ name: "a/../../escape", content: "x" }]];
    for (const attempt of attempts) await expect(unpack(attempt)).rejects.toThrow("leaves the root file system");
    const { into } = await unpack([
      { name: "abs", type: "symlink", linkname: outside, content: "" },
      { name: "abs/escape", content: "x" },
      { name: "rel", type: "symlink", linkname: "../../../../../../tmp", content: "" },
      { name: "rel/kubun-escape", content: "x" },
    ]);
    expect(readdirSync(outside)).toEqual([]);
    expect(existsSync("/tmp/kubun-escape")).toBe(false);
    expect(readFileSync(join(into, outside, "escape"), "utf8")).toBe("x");
    expect(readFileSync(join(into, "tmp/kubun-escape"), "utf8")).toBe("x");
  });

  test("a hard link to a file outside the layer is refused", async () => {
    await expect(unpack([{ name: "l", type: "link", linkname: "/etc/passwd", content: "" }])).rejects.toThrow("ENOENT");
  });
});

test("a circle of links is given up", () => {
  const at = fresh();
  symlinkSync("b", join(at, "a"));
  symlinkSync("a", join(at, "b"));
  expect(() => resolveInside(at, "a/x")).toThrow("too many symbolic links");
});

describe.skipIf(!root)("the store", () => {
  const layers = async () => [await tarOf([{ name: "etc/one", content: "1" }]), await tarOf([{ name: "etc/two", content: "22" }])];

  test.each(["docker", "docker gzipped", "oci gzipped"])("imports an archive: %s", async (kind) => {
    const at = fresh();
    const store = new ImageStore(at);
    const file = join(dir, `archive-${n++}`);
    const plain = kind.startsWith("oci")
      ? await ociArchive("x.test/a:1", await layers(), { User: "5" })
      : await dockerArchive("x.test/a:1", await layers(), { User: "5" });
    writeFileSync(file, kind === "docker gzipped" ? gzipSync(plain) : plain);
    const [image] = await importArchive(store, file);
    expect(image?.tags).toEqual(["x.test/a:1"]);
    expect(store.config(image!).config?.User).toBe("5");
    const [top, bottom] = store.lowerDirs(image!);
    expect(readFileSync(join(bottom!, "etc/one"), "utf8") + readFileSync(join(top!, "etc/two"), "utf8")).toBe("122");
    const again = new ImageStore(at);
    expect(again.find("x.test/a:1")?.id).toBe(image!.id);
    expect(again.find(image!.id.slice(7, 19))?.id).toBe(image!.id);
    expect(readdirSync(join(at, "tmp"))).toEqual([]);
  });

  test("a name moves to the newer image; layers go with the last image that uses them", async () => {
    const at = fresh();
    const store = new ImageStore(at);
    const [one, two] = await layers();
    const put = async (tars: Buffer[], name: string) => {
      for (const tar of tars) await store.addLayer(digestOf(tar), () => Readable.from([tar]));
      return store.add({
        config: { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: tars.map((t) => digestOf(t)) } },
        names: [name],
      });
    };
    const older = await put([one!], "a:1");
    const newer = await put([one!, two!], "a:1");
    expect(store.find("a:1")?.id).toBe(newer.id);
    expect(store.find(older.id)?.tags).toEqual([]);
    expect(await store.remove("a:1")).toBe(true);
    expect(readdirSync(join(at, "layers"))).toEqual([digestOf(one!).slice(7)]);
    await store.remove(older.id, new Set([digestOf(one!)]));
    expect(readdirSync(join(at, "layers")).length).toBe(1);
    expect(await store.remove("a:1")).toBe(false);
  });

  test("an image that comes while another is removed keeps its layers and its config", async () => {
    const at = fresh();
    const store = new ImageStore(at);
    const tars = [...(await layers()), await tarOf([{ name: "etc/three", content: "3" }])];
    const [one, two, three] = tars as [Buffer, Buffer, Buffer];
    let held: Disposable;
    {
      using _hold = store.hold([digestOf(three)]);
      held = store.hold([digestOf(three)]);
      for (const tar of tars) await store.addLayer(digestOf(tar), () => Readable.from([tar]));
    }
    store.add({ config: configOf([one, two]), names: ["a:1"] });
    const removal = store.remove("a:1");
    const image = store.add({ config: configOf([three]), names: ["b:1"] });
    held[Symbol.dispose]();
    await removal;
    expect(readdirSync(join(at, "layers"))).toEqual([digestOf(three).slice(7)]);
    expect(new ImageStore(at).config(image).rootfs.diff_ids).toEqual([digestOf(three)]);
  });

  test("a damaged layer leaves nothing behind", async () => {
    const at = fresh();
    const store = new ImageStore(at);
    const [tar] = await layers();
    await expect(store.addLayer(`sha256:${"0".repeat(64)}`, () => Readable.from([tar!]))).rejects.toThrow("its digest is sha256:");
    await expect(store.addLayer(digestOf(tar!), () => Readable.from([gzipSync(tar!).subarray(0, 40)]))).rejects.toThrow();
    expect([...readdirSync(join(at, "layers")), ...readdirSync(join(at, "tmp"))]).toEqual([]);
  });

  test("a file that is no archive is told so", async () => {
    const store = new ImageStore(fresh());
    const file = join(dir, "odd.tar");
    writeFileSync(file, await tarOf([{ name: "readme", content: "hello" }]));
    await expect(importArchive(store, file)).rejects.toThrow("neither an OCI layout nor a docker archive");
    await expect(importArchive(store, join(dir, "none"))).rejects.toThrow("no such file");
  });
});
