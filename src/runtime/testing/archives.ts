// Image archives for tests, made of what the machine has.
import { readFileSync } from "node:fs";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { type Header, pack } from "tar-stream";
import { architecture, digestOf, type ImageConfig, MediaType, type ProcessDefaults } from "../images/oci.ts";

export type Entry = Partial<Header> & { name: string; content?: string | Uint8Array };

/** A tar of these entries. */
export async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const { content, ...header } of entries) {
    if (content === undefined) archive.entry({ type: "directory", mode: 0o755, ...header }, "");
    else archive.entry({ type: "file", mode: 0o644, ...header }, Buffer.from(content));
  }
  archive.finalize();
  return await buffer(archive);
}

export function configOf(layers: readonly Buffer[], config: ProcessDefaults = {}): ImageConfig {
  return { architecture, os: "linux", config, rootfs: { type: "layers", diff_ids: layers.map((l) => digestOf(l)) } };
}

/** What `docker save` would write. */
export async function dockerArchive(name: string, layers: readonly Buffer[], config?: ProcessDefaults): Promise<Buffer> {
  const json = JSON.stringify(configOf(layers, config));
  const configName = `${digestOf(json).slice(7)}.json`;
  return await tarOf([
    { name: configName, content: json },
    ...layers.map((layer, i) => ({ name: `${i}/layer.tar`, content: layer })),
    {
      name: "manifest.json",
      content: JSON.stringify([{ Config: configName, RepoTags: [name], Layers: layers.map((_, i) => `${i}/layer.tar`) }]),
    },
  ]);
}

export interface OciParts {
  config: Buffer;
  manifest: Buffer;
  layers: Buffer[];
}

/** The blobs of an OCI image, layers gzipped. */
export function ociParts(layers: readonly Buffer[], config?: ProcessDefaults): OciParts {
  const zipped = layers.map((l) => gzipSync(l));
  const configBytes = Buffer.from(JSON.stringify(configOf(layers, config)));
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MediaType.manifest,
      config: { mediaType: MediaType.config, digest: digestOf(configBytes), size: configBytes.length },
      layers: zipped.map((l) => ({ mediaType: MediaType.layerGzip, digest: digestOf(l), size: l.length })),
    }),
  );
  return { config: configBytes, manifest, layers: zipped };
}

/** An OCI layout in a tar, gzipped. */
export async function ociArchive(name: string, layers: readonly Buffer[], config?: ProcessDefaults): Promise<Buffer> {
  const parts = ociParts(layers, config);
  const index = {
    schemaVersion: 2,
    manifests: [
      {
        mediaType: MediaType.manifest,
        digest: digestOf(parts.manifest),
        size: parts.manifest.length,
        annotations: { "io.containerd.image.name": name },
      },
    ],
  };
  const blob = (bytes: Buffer) => ({ name: `blobs/sha256/${digestOf(bytes).slice(7)}`, content: bytes });
  return gzipSync(
    await tarOf([
      { name: "oci-layout", content: '{"imageLayoutVersion":"1.0.0"}' },
      { name: "index.json", content: JSON.stringify(index) },
      ...[parts.config, parts.manifest, ...parts.layers].map(blob),
    ]),
  );
}

const APPLETS = [
  "sh",
  "cat",
  "echo",
  "ls",
  "sleep",
  "id",
  "hostname",
  "wget",
  "nc",
  "ip",
  "env",
  "ps",
  "kill",
  "head",
  "stty",
  "grep",
  "mount",
  "dd",
  "tty",
];

/** A layer with a static busybox; undefined where the Debian package busybox-static is missing. */
export async function busyboxLayer(): Promise<Buffer | undefined> {
  const path = ["/bin/busybox", "/usr/bin/busybox"].find((p) => Bun.which(p) !== null);
  if (path === undefined) return undefined;
  return await tarOf([
    { name: "bin" },
    { name: "etc" },
    { name: "tmp", mode: 0o1777 },
    { name: "bin/busybox", mode: 0o755, content: readFileSync(path) },
    ...APPLETS.map((a) => ({ name: `bin/${a}`, type: "symlink" as const, linkname: "busybox", content: "" })),
    { name: "etc/passwd", content: "root:x:0:0:root:/:/bin/sh\napp:x:1001:1002::/:/bin/sh\n" },
    { name: "etc/group", content: "root:x:0:\napp:x:1002:\nextra:x:1003:app\n" },
  ]);
}
