// Pulls from Debian's docker-registry, and from one that wants a token.
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { Code } from "../../rpc/types.ts";
import { freePort } from "../../testing/ports.ts";
import { configOf, type OciParts, ociParts, tarOf } from "../testing/archives.ts";
import { wrapPullError } from "./errors.ts";
import { architecture, digestOf, type ImageConfig, MediaType } from "./oci.ts";
import { Puller } from "./registry.ts";
import { ImageStore } from "./store.ts";

const root = process.getuid?.() === 0;
if (!root) console.log("skipped: unpacking layers needs root");
const registry = Bun.which("docker-registry");
if (registry === null) console.log("skipped: the Debian package docker-registry is missing");

const dir = mkdtempSync(join(tmpdir(), "kubun-registry-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
let n = 0;
const puller = () => {
  const store = new ImageStore(join(dir, `store-${n++}`));
  return { store, puller: new Puller(store) };
};

async function push(base: string, repository: string, tag: string, parts: OciParts): Promise<void> {
  for (const blob of [parts.config, ...parts.layers]) {
    const begun = await fetch(`${base}/v2/${repository}/blobs/uploads/`, { method: "POST" });
    const at = new URL(begun.headers.get("location")!, base);
    at.searchParams.set("digest", digestOf(blob));
    expect((await fetch(at, { method: "PUT", body: new Uint8Array(blob) })).status).toBe(201);
  }
  const done = await fetch(`${base}/v2/${repository}/manifests/${tag}`, {
    method: "PUT",
    body: new Uint8Array(parts.manifest),
    headers: { "content-type": MediaType.manifest },
  });
  expect(done.status).toBe(201);
}

describe.skipIf(!root || registry === null)("Debian's docker-registry", () => {
  test("an image is pulled by tag and by digest, and one that isn't there is told in containerd's words", async () => {
    const port = freePort();
    const config = join(dir, "registry.yml");
    writeFileSync(
      config,
      `version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ${dir}/data\nhttp:\n  addr: 127.0.0.1:${port}\nlog:\n  level: error\n`,
    );
    const server = Bun.spawn([registry!, "serve", config], { stdout: "ignore", stderr: "ignore" });
    try {
      const base = `http://127.0.0.1:${port}`;
      const deadline = Date.now() + 30_000;
      while (
        !(await fetch(`${base}/v2/`).then(
          (r) => r.ok,
          () => false,
        ))
      ) {
        if (Date.now() > deadline) throw new Error("docker-registry doesn't answer");
        await Bun.sleep(20);
      }
      const parts = ociParts([await tarOf([{ name: "hello", content: "world" }])], { Cmd: ["x"] });
      await push(base, "team/app", "v1", parts);
      const { store, puller: p } = puller();
      const name = `127.0.0.1:${port}/team/app:v1`;
      const image = await p.pull(name);
      expect(image.tags).toEqual([name]);
      expect(image.digests).toEqual([`127.0.0.1:${port}/team/app@${digestOf(parts.manifest)}`]);
      expect(readFileSync(join(store.lowerDirs(image)[0]!, "hello"), "utf8")).toBe("world");
      const byDigest = await puller().puller.pull(image.digests[0]!);
      expect([byDigest.id, byDigest.tags]).toEqual([image.id, []]);
      expect(store.find(image.digests[0]!)?.id).toBe(image.id);

      const absent = `127.0.0.1:${port}/team/app:v2`;
      const error = wrapPullError(absent, await p.pull(absent).catch((e: unknown) => e));
      expect([error.code, error.message]).toEqual([
        Code.NotFound,
        `failed to pull and unpack image "${absent}": failed to resolve reference "${absent}": ${absent}: not found`,
      ]);
    } finally {
      server.kill();
      await server.exited;
    }
  });
});

describe.skipIf(!root)("a registry", () => {
  test("with tokens and an index for several architectures gives this machine's image", async () => {
    const parts = ociParts([await tarOf([{ name: "mine", content: architecture }])]);
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MediaType.index,
        manifests: [
          { mediaType: MediaType.manifest, digest: `sha256:${"1".repeat(64)}`, size: 1, platform: { os: "linux", architecture: "s390x" } },
          {
            mediaType: MediaType.manifest,
            digest: digestOf(parts.manifest),
            size: parts.manifest.length,
            platform: { os: "linux", architecture },
          },
        ],
      }),
    );
    const blobs = new Map([parts.config, ...parts.layers].map((b) => [digestOf(b), b]));
    const asked: string[] = [];
    using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch(request) {
        const url = new URL(request.url);
        if (url.pathname === "/token") {
          asked.push(`${url.searchParams.get("scope")} ${request.headers.get("authorization")}`);
          return request.headers.get("authorization") === `Basic ${btoa("me:secret")}`
            ? Response.json({ token: "t" })
            : new Response("no", { status: 401 });
        }
        if (request.headers.get("authorization") !== "Bearer t") {
          const challenge = `Bearer realm="${url.origin}/token",service="test",scope="repository:a/b:pull"`;
          return new Response("", { status: 401, headers: { "www-authenticate": challenge } });
        }
        const last = url.pathname.split("/").at(-1)!;
        if (url.pathname.includes("/manifests/")) {
          const body = last === "1" ? index : last === digestOf(parts.manifest) ? parts.manifest : undefined;
          return body === undefined ? new Response("", { status: 404 }) : new Response(new Uint8Array(body));
        }
        const blob = blobs.get(last);
        return blob === undefined ? new Response("", { status: 404 }) : new Response(new Uint8Array(blob));
      },
    });
    const name = `127.0.0.1:${server.port}/a/b:1`;
    const credentials = { username: "me", password: "secret", auth: "", identityToken: "", registryToken: "" };
    const { store, puller: p } = puller();
    const image = await p.pull(name, credentials);
    expect(readFileSync(join(store.lowerDirs(image)[0]!, "mine"), "utf8")).toBe(architecture);
    expect(image.digests).toEqual([`127.0.0.1:${server.port}/a/b@${digestOf(index)}`]);
    expect(asked[0]).toBe(`repository:a/b:pull Basic ${btoa("me:secret")}`);
    const denied = await puller()
      .puller.pull(name)
      .catch((e: Error) => e.message);
    expect(denied).toContain("failed to authorize");
  });

  test("may be slow with one layer: what came before it stays, whatever is removed meanwhile", async () => {
    const parts = ociParts([await tarOf([{ name: "a", content: "1" }]), await tarOf([{ name: "b", content: "2" }])]);
    const blobs = new Map([parts.config, parts.manifest, ...parts.layers].map((b) => [digestOf(b), b]));
    const last = Promise.withResolvers<void>();
    using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      async fetch(request) {
        const name = request.url.split("/").at(-1)!;
        if (name === digestOf(parts.layers[1]!)) await last.promise;
        return new Response(new Uint8Array(name === "1" ? parts.manifest : blobs.get(name)!));
      },
    });
    const { store, puller: p } = puller();
    const other = await tarOf([{ name: "c", content: "3" }]);
    await store.addLayer(digestOf(other), () => Readable.from([other]));
    store.add({ config: configOf([other]), names: ["other:1"] });
    const pull = p.pull(`127.0.0.1:${server.port}/a:1`);
    const { diff_ids } = (JSON.parse(parts.config.toString()) as ImageConfig).rootfs;
    const deadline = Date.now() + 60_000;
    // Until nothing but the second layer is on its way.
    while (!store.hasLayer(diff_ids[0]!) || readdirSync(join(store.root, "tmp")).length !== 1) {
      expect(Date.now()).toBeLessThan(deadline);
      await Bun.sleep(2);
    }
    await store.remove("other:1");
    expect(store.hasLayer(digestOf(other))).toBe(false);
    last.resolve();
    expect((await pull).layers.filter((layer) => !store.hasLayer(layer))).toEqual([]);
  });

  test("that nobody runs is told with the address", async () => {
    const name = `127.0.0.1:${freePort()}/a:1`;
    const error = wrapPullError(
      name,
      await puller()
        .puller.pull(name)
        .catch((e: unknown) => e),
    );
    expect(error.message).toEndWith("connect: connection refused");
    expect(error.message).toStartWith(
      `failed to pull and unpack image "${name}": failed to resolve reference "${name}": failed to do request: Get "http://127.0.0.1`,
    );
  });
});
