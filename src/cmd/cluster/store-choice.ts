// Where a cluster keeps its objects: in a store of its own, or in an etcd that
// somebody else runs. A data directory stays with what it was made with.
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { TlsClientOptions } from "../../rpc/types.ts";
import { type Flag, list, optionalText, text, UsageError } from "../flags.ts";
import { type StorageMediaType, storageMediaType } from "../storage-media-type.ts";
import { checkEndpoints } from "../store-client.ts";
import type { ClusterFile } from "./state.ts";
import type { EtcdSettings } from "./up-options.ts";

/** Without it an etcd gets upstream's own form, since upstream's apiserver may use the same etcd one day. */
const mediaType: Flag<StorageMediaType | undefined> = {
  ...storageMediaType,
  fallback: undefined,
  help: `${storageMediaType.help} (default application/json, the faster one, in a store of the cluster's own; application/vnd.kubernetes.protobuf in an etcd)`,
};

/** Of `up`; upstream's names. */
export const etcdFlags = {
  "etcd-servers": list("URLS", [], "keep objects in this etcd instead of a store of the cluster's own: https://, http:// or unix:// URLs"),
  "etcd-cafile": optionalText("FILE", "authority of its certificate"),
  "etcd-certfile": optionalText("FILE", "certificate to show it"),
  "etcd-keyfile": optionalText("FILE", "its key"),
  "etcd-prefix": text("PREFIX", "/registry", "where objects begin in it"),
  "storage-media-type": mediaType,
};

type EtcdFlagValues = {
  "etcd-servers": readonly string[];
  "etcd-cafile": string | undefined;
  "etcd-certfile": string | undefined;
  "etcd-keyfile": string | undefined;
  "etcd-prefix": string;
};

/** What the flags say, checked; undefined where they name no server. */
export function etcdSettings(v: EtcdFlagValues): EtcdSettings | undefined {
  if (!v["etcd-certfile"] !== !v["etcd-keyfile"]) throw new UsageError("--etcd-certfile and --etcd-keyfile go together");
  const files = ["etcd-cafile", "etcd-certfile", "etcd-keyfile"] as const;
  if (v["etcd-servers"].length === 0) {
    const alone = files.find((name) => v[name]);
    if (alone) throw new UsageError(`--${alone} needs --etcd-servers`);
    return undefined;
  }
  checkEndpoints(v["etcd-servers"]);
  for (const name of files) {
    const file = v[name];
    if (file && !existsSync(file)) throw new UsageError(`invalid value ${JSON.stringify(file)} for flag --${name}: no such file`);
  }
  const path = (file: string | undefined) => (file ? resolve(file) : undefined);
  return {
    servers: [...v["etcd-servers"]],
    caFile: path(v["etcd-cafile"]),
    certFile: path(v["etcd-certfile"]),
    keyFile: path(v["etcd-keyfile"]),
    prefix: `/${v["etcd-prefix"].replace(/^\/+|\/+$/g, "")}`,
  };
}

/** Throws a UsageError that names a file that can't be read. */
export function etcdTls(etcd: EtcdSettings): TlsClientOptions {
  const read = (flag: string, file: string | undefined) => {
    if (!file) return undefined;
    try {
      return readFileSync(file, "utf8");
    } catch (error) {
      throw new UsageError(`invalid value ${JSON.stringify(file)} for flag --${flag}: ${(error as Error).message}`);
    }
  };
  return { ca: read("etcd-cafile", etcd.caFile), cert: read("etcd-certfile", etcd.certFile), key: read("etcd-keyfile", etcd.keyFile) };
}

/** How an apiserver of the cluster uses its store. */
export function storageOptions({ etcd, storageMediaType }: Pick<ClusterFile, "etcd" | "storageMediaType">): {
  storePrefix?: string;
  storageMediaType: StorageMediaType;
} {
  const form = storageMediaType ?? (etcd ? "application/vnd.kubernetes.protobuf" : "application/json");
  return { storageMediaType: form, ...(etcd ? { storePrefix: etcd.prefix } : {}) };
}

/**
 * A stored cluster with the way to its etcd that the user asks for now. Throws
 * UsageError where its objects would not be where it has them.
 */
export function openStored(stored: ClusterFile, etcd: EtcdSettings | undefined, given: ReadonlySet<string>, dir: string): ClusterFile {
  const otherwise = "leave the flag out, choose another --data-dir, or 'kubun down --purge' first";
  const where = stored.etcd && `the etcd at ${stored.etcd.servers.join(",")}`;
  if (!stored.etcd && etcd)
    throw new UsageError(`--etcd-servers: ${dir} keeps its objects in a store of its own, and they would be missing there: ${otherwise}`);
  if (stored.etcd && !etcd && given.has("etcd-servers"))
    throw new UsageError(`--etcd-servers: ${dir} keeps its objects in ${where}, not in a store of its own: ${otherwise}`);
  if (stored.etcd && given.has("etcd-prefix") && etcd && etcd.prefix !== stored.etcd.prefix)
    throw new UsageError(`--etcd-prefix ${etcd.prefix}: ${dir} keeps its objects in ${where} below ${stored.etcd.prefix}: ${otherwise}`);
  // Its members may have other addresses by now.
  return stored.etcd && etcd ? { ...stored, etcd: { ...etcd, prefix: stored.etcd.prefix } } : stored;
}
