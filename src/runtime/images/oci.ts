// The parts of the OCI image format that are used here
// (opencontainers/image-spec: descriptor, image index, manifest, config, layout).

export interface Descriptor {
  mediaType?: string;
  digest: string;
  size: number;
  platform?: { architecture?: string; os?: string; variant?: string };
  annotations?: Record<string, string>;
}

export interface Index {
  schemaVersion?: number;
  mediaType?: string;
  manifests: Descriptor[];
}

export interface Manifest {
  schemaVersion?: number;
  mediaType?: string;
  config: Descriptor;
  layers: Descriptor[];
}

export interface ImageConfig {
  architecture: string;
  os: string;
  created?: string;
  config?: ProcessDefaults;
  rootfs: { type: "layers"; diff_ids: string[] };
  history?: { created?: string; created_by?: string; empty_layer?: boolean }[];
}

/** What a container of the image runs unless it says otherwise. */
export interface ProcessDefaults {
  User?: string;
  ExposedPorts?: Record<string, object>;
  Env?: string[];
  Entrypoint?: string[] | null;
  Cmd?: string[] | null;
  Volumes?: Record<string, object> | null;
  WorkingDir?: string;
  Labels?: Record<string, string> | null;
  StopSignal?: string;
}

export const MediaType = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
  layerGzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  dockerIndex: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
} as const;

/** This machine as GOARCH names it. */
export const architecture: string = process.arch === "x64" ? "amd64" : process.arch;

export const isIndex = (value: unknown): value is Index => typeof value === "object" && value !== null && "manifests" in value;

export function isManifest(value: unknown): value is Manifest {
  return typeof value === "object" && value !== null && "config" in value && Array.isArray((value as Manifest).layers);
}

/** The entry of an index for this machine; undefined if there is none. */
export function forThisMachine(index: Index): Descriptor | undefined {
  const images = index.manifests.filter((m) => m.platform?.os !== "unknown");
  return (
    images.find((m) => m.platform?.os === "linux" && m.platform.architecture === architecture) ??
    images.find((m) => m.platform === undefined)
  );
}

/** "sha256:…" of bytes. */
export const digestOf = (bytes: Uint8Array | string): string => `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;

const SHA256 = /^sha256:[0-9a-f]{64}$/;

/** The hex part of a digest. Throws where it isn't sha256, so that a digest never names a path by accident. */
export function hex(digest: string): string {
  if (!SHA256.test(digest)) throw new Error(`unsupported digest ${JSON.stringify(digest)}: only sha256 is`);
  return digest.slice(7);
}
