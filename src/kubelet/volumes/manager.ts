// Sets up the volumes of pods below <root>/pods/<uid>/volumes, keeps those that
// show API objects up to date, and takes them down.
import { chmod, chown, lstat, mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { toBytes } from "../../api/quantity.ts";
import { isNotFound } from "../../api/status.ts";
import { detachAllUnder, mount } from "../../platform/mount.ts";
import type { ObjectCache } from "../config/objects.ts";
import type { TokenManager } from "../config/tokens.ts";
import type { Allocatable, PodAddresses } from "../pod/field-path.ts";
import { type Payload, writeAtomically } from "./atomic-writer.ts";
import { configMapFiles, defaultMode, downwardFiles, projectedFiles, references, secretFiles, VolumeError } from "./payload.ts";

export interface VolumeOptions {
  rootDir: string;
  objects: ObjectCache;
  tokens: TokenManager;
  allocatable(): Allocatable;
  addresses(podUid: string): PodAddresses;
}

/** The API type of a volume, such as "configMap". */
export function volumeType(volume: coreV1.Volume): string {
  return Object.keys(volume).find((k) => k !== "name") ?? "emptyDir";
}

const plugins: Record<string, string> = {
  configMap: "kubernetes.io~configmap",
  secret: "kubernetes.io~secret",
  downwardAPI: "kubernetes.io~downward-api",
  projected: "kubernetes.io~projected",
  emptyDir: "kubernetes.io~empty-dir",
};

/** Volume types whose files come from API objects. */
const rendered = new Set(["configMap", "secret", "downwardAPI", "projected"]);
/** Those whose files must never reach a disk. */
const inMemory = new Set(["secret", "projected", "downwardAPI"]);

export const podDir = (rootDir: string, uid: string) => join(rootDir, "pods", uid);

/** `size` in bytes; half of the memory without one. */
function mountTmpfs(target: string, mode: number, size?: number): void {
  mount("tmpfs", target, "tmpfs", 0, [`mode=${mode.toString(8)}`, ...(size ? [`size=${size}`] : [])].join());
}

async function isMount(path: string): Promise<boolean> {
  const [own, parent] = await Promise.all([stat(path), stat(dirname(path))]);
  return own.dev !== parent.dev;
}

export class VolumeManager {
  readonly #options: VolumeOptions;
  /** When the tokens of a pod have to be renewed, in milliseconds since the epoch. */
  readonly #renewals = new Map<string, number>();

  constructor(options: VolumeOptions) {
    this.#options = options;
  }

  podDir(uid: string): string {
    return podDir(this.#options.rootDir, uid);
  }

  /** The host's path of a volume, whether it is set up or not. */
  path(pod: coreV1.Pod, volume: coreV1.Volume): string {
    if (volume.hostPath) return volume.hostPath.path;
    return join(
      this.podDir(pod.metadata.uid!),
      "volumes",
      plugins[volumeType(volume)] ?? `kubernetes.io~${volumeType(volume)}`,
      volume.name,
    );
  }

  /** Sets one volume up, or brings it up to date. Throws what keeps it from that. */
  async setUp(pod: coreV1.Pod, volume: coreV1.Volume): Promise<void> {
    const type = volumeType(volume);
    if (type === "hostPath") return this.#hostPath(volume.hostPath!);
    if (type === "emptyDir") return this.#emptyDir(pod, volume);
    if (rendered.has(type)) return this.#rendered(pod, volume, type);
    throw new VolumeError(`volumes of type ${type} are not supported by this kubelet`);
  }

  /** Whether a volume shows API objects, so that setUp again can change it. */
  static isLive(volume: coreV1.Volume): boolean {
    return rendered.has(volumeType(volume));
  }

  /** Milliseconds since the epoch when a pod's tokens want to be renewed; undefined without any. */
  renewal(uid: string): number | undefined {
    return this.#renewals.get(uid);
  }

  async #hostPath(source: coreV1.HostPathVolumeSource): Promise<void> {
    const { path, type = "" } = source;
    const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    const must = (ok: boolean, what: string) => {
      if (!ok) throw new VolumeError(`hostPath type check failed: ${path} is not ${what}`);
    };
    switch (type) {
      case "DirectoryOrCreate":
        if (!found) await mkdir(path, { recursive: true, mode: 0o755 });
        else must(found.isDirectory(), "a directory");
        return;
      case "FileOrCreate":
        if (!found) await writeFile(path, "", { mode: 0o644, flag: "a" });
        else must(found.isFile(), "a file");
        return;
      case "Directory":
        return must(found?.isDirectory() ?? false, "a directory");
      case "File":
        return must(found?.isFile() ?? false, "a file");
      case "Socket":
        return must(found?.isSocket() ?? false, "a socket file");
      case "CharDevice":
        return must(found?.isCharacterDevice() ?? false, "a character device");
      case "BlockDevice":
        return must(found?.isBlockDevice() ?? false, "a block device");
      default:
        // The runtime makes a folder where nothing is, as upstream's do.
        if (!found) await mkdir(path, { recursive: true });
    }
  }

  async #emptyDir(pod: coreV1.Pod, volume: coreV1.Volume): Promise<void> {
    const path = this.path(pod, volume);
    const source = volume.emptyDir ?? {};
    await mkdir(path, { recursive: true });
    if (source.medium === "Memory") {
      if (!(await isMount(path))) mountTmpfs(path, 0o777, source.sizeLimit ? toBytes(source.sizeLimit) : undefined);
    } else if (source.medium) throw new VolumeError(`emptyDir medium ${JSON.stringify(source.medium)} is not supported`);
    const fsGroup = pod.spec.securityContext?.fsGroup;
    if (fsGroup !== undefined) await chown(path, 0, fsGroup);
    await chmod(path, fsGroup === undefined ? 0o777 : 0o2777);
  }

  async #rendered(pod: coreV1.Pod, volume: coreV1.Volume, type: string): Promise<void> {
    const payload = await this.#payload(pod, volume, type);
    const path = this.path(pod, volume);
    await mkdir(path, { recursive: true });
    if (inMemory.has(type) && !(await isMount(path))) mountTmpfs(path, 0o755);
    const fsGroup = pod.spec.securityContext?.fsGroup;
    await writeAtomically(path, payload, fsGroup === undefined ? {} : { fsGroup });
  }

  async #payload(pod: coreV1.Pod, volume: coreV1.Volume, type: string): Promise<Payload> {
    const { objects, tokens } = this.#options;
    const refs = references(volume);
    const orMissing = <T>(get: Promise<T>): Promise<T | undefined> =>
      get.catch((error) => {
        if (isNotFound(error)) return undefined;
        throw error;
      });
    const [maps, secrets, tokenEntries] = await Promise.all([
      Promise.all(refs.configMaps.map((n) => orMissing(objects.configMap(pod, n)))),
      Promise.all(refs.secrets.map((n) => orMissing(objects.secret(pod, n)))),
      Promise.all(refs.tokens.map((t) => tokens.get(pod, t))),
    ]);
    if (tokenEntries.length > 0) this.#renewals.set(pod.metadata.uid!, Math.min(...tokenEntries.map((t) => t.renewAt)));
    const sources = {
      configMap: (name: string) => maps[refs.configMaps.indexOf(name)],
      secret: (name: string) => secrets[refs.secrets.indexOf(name)],
      token: (projection: coreV1.ServiceAccountTokenProjection) => tokenEntries[refs.tokens.indexOf(projection)]!.token,
      addresses: this.#options.addresses(pod.metadata.uid!),
      allocatable: this.#options.allocatable(),
    };
    const payload: Payload = new Map();
    if (type === "configMap") configMapFiles(payload, volume.configMap!, volume.configMap!.defaultMode ?? defaultMode, sources);
    else if (type === "secret") {
      const { secretName, ...rest } = volume.secret!;
      secretFiles(payload, { ...rest, name: secretName }, rest.defaultMode ?? defaultMode, sources);
    } else if (type === "downwardAPI")
      downwardFiles(payload, pod, volume.downwardAPI!.items, volume.downwardAPI!.defaultMode ?? defaultMode, sources);
    else projectedFiles(payload, pod, volume.projected!, sources);
    return payload;
  }

  /** Takes a pod's volumes down; the rest of its folder goes too unless it is kept for its last words. */
  async tearDown(uid: string, keepFolder: boolean): Promise<void> {
    this.#renewals.delete(uid);
    this.#options.tokens.forget(uid);
    if (!keepFolder) return removePodDir(this.#options.rootDir, uid);
    const dir = this.podDir(uid);
    detachAllUnder(dir);
    await Promise.all(["volumes", "volume-subpaths"].map((d) => rm(join(dir, d), { recursive: true, force: true })));
  }

  /** The uids of the pods that have a folder. */
  async known(): Promise<string[]> {
    return readdir(join(this.#options.rootDir, "pods")).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw error;
    });
  }
}

/** Unmounts all below a pod's folder, then deletes the folder; never follows a link or mount. */
export async function removePodDir(rootDir: string, uid: string): Promise<void> {
  const dir = podDir(rootDir, uid);
  const there = await lstat(dir).catch(() => undefined);
  if (!there) return;
  detachAllUnder(dir);
  await rm(dir, { recursive: true, force: true });
}
