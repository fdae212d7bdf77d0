// What a container's OCI configuration is made from: the user, the mounts'
// sources, the devices and the profile as they are on this machine now.
import { existsSync, mkdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { cgroups } from "../../platform/cgroup.ts";
import type { Logger } from "../../platform/log.ts";
import {
  type ContainerConfig,
  type LinuxContainerResources,
  NamespaceMode,
  SupplementalGroupsPolicy,
} from "../../rpc/gen/cri/runtime_pb.ts";
import { resolveInside } from "../images/layer.ts";
import type { ImageConfig } from "../images/oci.ts";
import { devicesAt, hostDevices } from "../oci/devices.ts";
import { containerSpec } from "../oci/spec.ts";
import type { OciSeccomp, OciSpec } from "../oci/types.ts";
import { type ResolvedUser, resolveUser } from "../oci/user.ts";
import { hostnamePath, hostsPath, podHostname, resolvConfPath } from "../sandbox/files.ts";
import type { SandboxRecord } from "../sandbox/record.ts";
import { oomScoreFloor } from "./oom.ts";

/** Who it runs as, looked up in its own files. @throws Error for a name that isn't in them. */
export function containerUser(config: ContainerConfig, imageUser: string | undefined, rootfs: string): ResolvedUser {
  const security = config.linux?.securityContext;
  const file = (path: string) => {
    const real = resolveInside(rootfs, path);
    return existsSync(real) && statSync(real).isFile() ? readFileSync(real, "utf8") : "";
  };
  return resolveUser(
    {
      uid: security?.runAsUser === undefined ? undefined : Number(security.runAsUser.value),
      gid: security?.runAsGroup === undefined ? undefined : Number(security.runAsGroup.value),
      username: security?.runAsUsername,
      imageUser,
      supplementalGroups: (security?.supplementalGroups ?? []).map(Number),
      mergeGroups: security?.supplementalGroupsPolicy !== SupplementalGroupsPolicy.Strict,
    },
    file("/etc/passwd"),
    file("/etc/group"),
  );
}

export interface SpecParts {
  id: string;
  config: ContainerConfig;
  image: ImageConfig;
  user: ResolvedUser;
  rootfs: string;
  cgroupPath: string;
  sandbox: SandboxRecord;
  sandboxDir: string;
}

/** The OCI configuration. Makes host folders that mounts name and that don't exist. `pidOf` finds a running container's process. */
export function prepareSpec(parts: SpecParts, pidOf: (container: string) => number | undefined, log: Logger): OciSpec {
  const { id, config, sandbox, sandboxDir, image, user, rootfs, cgroupPath } = parts;
  const security = config.linux?.securityContext;
  for (const mount of config.mounts) {
    // As other runtimes do for a hostPath that nobody checked.
    if (!existsSync(mount.hostPath)) mkdirSync(mount.hostPath, { recursive: true, mode: 0o755 });
    mount.hostPath = realpathSync(mount.hostPath);
  }
  const target = security?.namespaceOptions?.pid === NamespaceMode.TARGET ? security.namespaceOptions.targetId : undefined;
  const profile = security?.seccomp?.localhostRef ?? "";
  return containerSpec({
    id,
    config,
    image,
    user,
    rootfs,
    cgroupPath,
    cgroupVersion: cgroups().version,
    sandbox: {
      hostname: podHostname(sandbox.config),
      namespaces: sandbox.namespaces,
      pidHolder: sandbox.holder?.pid,
      shm: sandbox.shm,
      resolvConf: resolvConfPath(sandboxDir),
      hostsFile: hostsPath(sandboxDir),
      hostnameFile: hostnamePath(sandboxDir),
      privileged: sandbox.config.linux?.securityContext?.privileged ?? false,
    },
    pidTarget: target === undefined ? undefined : pidOf(target),
    oomScoreFloor: oomScoreFloor(log),
    devices: security?.privileged ? hostDevices() : config.devices.flatMap((d) => devicesAt(d.hostPath, d.containerPath)),
    seccompProfile: profile === "" ? undefined : (JSON.parse(readFileSync(profile, "utf8")) as OciSeccomp),
    annotations: {
      "io.kubernetes.cri.container-type": "container",
      "io.kubernetes.cri.container-name": config.metadata?.name ?? "",
      "io.kubernetes.cri.sandbox-id": sandbox.id,
      "io.kubernetes.cri.sandbox-name": sandbox.config.metadata?.name ?? "",
      "io.kubernetes.cri.sandbox-namespace": sandbox.config.metadata?.namespace ?? "",
      "io.kubernetes.cri.sandbox-uid": sandbox.config.metadata?.uid ?? "",
    },
  });
}

/** Lays the values that are set over those before. */
export function mergeResources(before: LinuxContainerResources | undefined, next: LinuxContainerResources): LinuxContainerResources {
  if (before === undefined) return next;
  const merged = { ...before } as Record<string, unknown>;
  for (const [key, value] of Object.entries(next)) {
    const unset = value === 0n || value === "" || (Array.isArray(value) && value.length === 0);
    if (!unset && key !== "$typeName" && key !== "$unknown") merged[key] = value;
  }
  return merged as unknown as LinuxContainerResources;
}
