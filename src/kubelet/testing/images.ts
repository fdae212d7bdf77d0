// Images for tests, made from Debian's static busybox: no registry is needed.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { pack } from "tar-stream";

async function tar(files: { name: string; data?: Buffer | string; mode?: number; link?: string }[]): Promise<Buffer> {
  const archive = pack();
  for (const f of files) {
    if (f.link !== undefined) archive.entry({ name: f.name, type: "symlink", linkname: f.link });
    else if (f.name.endsWith("/")) archive.entry({ name: f.name, type: "directory", mode: f.mode ?? 0o755 });
    else archive.entry({ name: f.name, mode: f.mode ?? 0o644 }, f.data as Buffer);
  }
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const applets =
  "sh sleep cat echo ls wget nc httpd id env true false test touch head tail grep hostname ps kill mkdir date seq yes stat mount sync".split(
    " ",
  );

/** A docker-archive of busybox under some names. */
export async function busyboxArchive(tags: string[], config: Record<string, unknown> = {}): Promise<Buffer> {
  const layer = await tar([
    ...["bin/", "tmp/", "etc/", "proc/", "sys/", "dev/", "var/"].map((name) => ({ name, mode: name === "tmp/" ? 0o1777 : 0o755 })),
    { name: "bin/busybox", data: readFileSync("/bin/busybox"), mode: 0o755 },
    ...applets.map((a) => ({ name: `bin/${a}`, link: "busybox" })),
    { name: "etc/passwd", data: "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n" },
    { name: "etc/group", data: "root:x:0:\nnogroup:x:65534:\n" },
  ]);
  const digest = createHash("sha256").update(layer).digest("hex");
  const image = JSON.stringify({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Env: ["PATH=/bin"], ...config },
    rootfs: { type: "layers", diff_ids: [`sha256:${digest}`] },
    history: [{ created: "1970-01-01T00:00:00Z", created_by: "kubun" }],
  });
  const id = createHash("sha256").update(image).digest("hex");
  return tar([
    { name: "manifest.json", data: JSON.stringify([{ Config: `${id}.json`, RepoTags: tags, Layers: [`${digest}/layer.tar`] }]) },
    { name: `${id}.json`, data: image },
    { name: `${digest}/`, mode: 0o755 },
    { name: `${digest}/layer.tar`, data: layer },
  ]);
}
