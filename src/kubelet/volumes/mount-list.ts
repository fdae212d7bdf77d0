// The mounts of one container: its volume mounts with their sub-paths, the
// hosts file, and the file for its last words.
import { chmod, mkdir, open, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { bindMount, detachAllUnder } from "../../platform/mount.ts";
import { MountPropagation } from "../../rpc/gen/cri/runtime_pb.ts";
import type { MountConfig } from "../pod/config.ts";
import { ConfigError } from "../pod/env.ts";
import { expand } from "../pod/expand.ts";
import { withPathInRoot } from "./open-in-root.ts";

const propagation: Record<string, MountPropagation> = {
  HostToContainer: MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
  Bidirectional: MountPropagation.PROPAGATION_BIDIRECTIONAL,
};

export interface MountInput {
  pod: coreV1.Pod;
  container: coreV1.Container;
  env: ReadonlyMap<string, string>;
  /** The host's path of a volume. */
  volumePath(volume: coreV1.Volume): string;
  podDir: string;
  hostsFile: string;
}

/** A sub-path of a volume as a mount of its own, so that no link in it can lead outside. */
async function subPathMount(input: MountInput, volume: coreV1.Volume, subPath: string, index: number, readOnly: boolean): Promise<string> {
  if (subPath.startsWith("/") || subPath.split("/").includes(".."))
    throw new ConfigError(
      `failed to prepare subPath for volumeMount ${JSON.stringify(volume.name)} of container ${JSON.stringify(input.container.name)}: invalid path`,
    );
  const root = input.volumePath(volume);
  const inside = join(root, subPath);
  if (!(await stat(inside).catch(() => undefined))) await mkdir(inside, { recursive: true, mode: 0o750 }).then(() => chmod(inside, 0o777));
  const target = join(input.podDir, "volume-subpaths", volume.name, input.container.name, String(index));
  detachAllUnder(target);
  await withPathInRoot(root, subPath, async (path) => {
    await mkdir(dirname(target), { recursive: true });
    if ((await stat(path)).isDirectory()) await mkdir(target, { recursive: true });
    else await (await open(target, "a")).close();
    bindMount(path, target, { recursive: true, readonly: readOnly });
  });
  return target;
}

/** The mounts of a container. Throws ConfigError for what can't be mounted. */
export async function containerMounts(input: MountInput): Promise<MountConfig[]> {
  const { pod, container } = input;
  const mounts: MountConfig[] = [];
  for (const [index, m] of (container.volumeMounts ?? []).entries()) {
    const volume = pod.spec.volumes?.find((v) => v.name === m.name);
    if (!volume)
      throw new ConfigError(`cannot find volume ${JSON.stringify(m.name)} to mount into container ${JSON.stringify(container.name)}`);
    const subPath = m.subPathExpr
      ? expand(m.subPathExpr, (name) => {
          const value = input.env.get(name);
          if (value === undefined) throw new ConfigError(`failed to expand subPathExpr: missing value for ${JSON.stringify(name)}`);
          return value;
        })
      : (m.subPath ?? "");
    mounts.push({
      hostPath: subPath ? await subPathMount(input, volume, subPath, index, m.readOnly ?? false) : input.volumePath(volume),
      containerPath: m.mountPath.startsWith("/") ? m.mountPath : `/${m.mountPath}`,
      readonly: m.readOnly ?? false,
      propagation: propagation[m.mountPropagation ?? "None"] ?? MountPropagation.PROPAGATION_PRIVATE,
      recursiveReadOnly: m.recursiveReadOnly === "Enabled",
    });
  }
  const managed = !mounts.some((m) => m.containerPath === "/etc/hosts") && !(pod.spec.hostNetwork && !pod.spec.hostAliases?.length);
  if (managed)
    mounts.push({
      hostPath: input.hostsFile,
      containerPath: "/etc/hosts",
      readonly: container.securityContext?.readOnlyRootFilesystem ?? false,
    });
  if (container.terminationMessagePath) {
    const path = join(
      input.podDir,
      "containers",
      container.name,
      Math.floor(Math.random() * 2 ** 32)
        .toString(16)
        .padStart(8, "0"),
    );
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, "");
    await chmod(path, 0o666);
    mounts.push({ hostPath: path, containerPath: container.terminationMessagePath });
  }
  return mounts;
}
