// Security contexts of pods and containers as the runtime takes them.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import {
  type LinuxContainerSecurityContextSchema,
  type LinuxSandboxSecurityContextSchema,
  NamespaceMode,
  SecurityProfile_ProfileType,
  SupplementalGroupsPolicy,
} from "../../rpc/gen/cri/runtime_pb.ts";
import { ConfigError } from "./env.ts";

const maskedPaths = [
  "/proc/asound",
  "/proc/acpi",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
];
const readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const int = (n: number) => ({ value: BigInt(n) });

function seccomp(profile: coreV1.SeccompProfile | undefined, root: string) {
  switch (profile?.type) {
    case "RuntimeDefault":
      return { profileType: SecurityProfile_ProfileType.RuntimeDefault };
    case "Localhost":
      return { profileType: SecurityProfile_ProfileType.Localhost, localhostRef: `${root}/${profile.localhostProfile}` };
    default:
      return { profileType: SecurityProfile_ProfileType.Unconfined };
  }
}

function apparmor(profile: coreV1.AppArmorProfile | undefined) {
  switch (profile?.type) {
    case "RuntimeDefault":
      return { profileType: SecurityProfile_ProfileType.RuntimeDefault };
    case "Unconfined":
      return { profileType: SecurityProfile_ProfileType.Unconfined };
    case "Localhost":
      return { profileType: SecurityProfile_ProfileType.Localhost, localhostRef: profile.localhostProfile ?? "" };
    default:
      return undefined;
  }
}

function namespaces(spec: coreV1.PodSpec) {
  return {
    network: spec.hostNetwork ? NamespaceMode.NODE : NamespaceMode.POD,
    ipc: spec.hostIPC ? NamespaceMode.NODE : NamespaceMode.POD,
    pid: spec.hostPID ? NamespaceMode.NODE : spec.shareProcessNamespace ? NamespaceMode.POD : NamespaceMode.CONTAINER,
  };
}

function groups(spec: coreV1.PodSpec): bigint[] {
  const context = spec.securityContext;
  const list = [...(context?.fsGroup === undefined ? [] : [context.fsGroup]), ...(context?.supplementalGroups ?? [])];
  return [...new Set(list)].map(BigInt);
}

const groupsPolicy = (spec: coreV1.PodSpec) =>
  spec.securityContext?.supplementalGroupsPolicy === "Strict" ? SupplementalGroupsPolicy.Strict : SupplementalGroupsPolicy.Merge;

const allContainers = (spec: coreV1.PodSpec) => [...(spec.initContainers ?? []), ...spec.containers];

export function sandboxSecurity(spec: coreV1.PodSpec, seccompRoot: string): MessageInitShape<typeof LinuxSandboxSecurityContextSchema> {
  const context = spec.securityContext;
  return {
    namespaceOptions: namespaces(spec),
    privileged: allContainers(spec).some((c) => c.securityContext?.privileged),
    seccomp: seccomp(context?.seccompProfile ?? { type: "RuntimeDefault" }, seccompRoot),
    supplementalGroups: groups(spec),
    supplementalGroupsPolicy: groupsPolicy(spec),
    ...(context?.runAsUser === undefined ? {} : { runAsUser: int(context.runAsUser) }),
    ...(context?.runAsGroup === undefined ? {} : { runAsGroup: int(context.runAsGroup) }),
    ...(context?.seLinuxOptions ? { selinuxOptions: context.seLinuxOptions } : {}),
  };
}

/** The user that an image runs as. */
export interface ImageUser {
  uid?: number;
  username?: string;
}

/** Throws ConfigError where a container must not run as root and would. */
function verifyNonRoot(pod: coreV1.Pod, container: coreV1.Container, runAsUser: number | undefined, image: ImageUser): void {
  const nonRoot = container.securityContext?.runAsNonRoot ?? pod.spec.securityContext?.runAsNonRoot;
  if (!nonRoot) return;
  const where = `pod: ${JSON.stringify(`${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`)}, container: ${container.name}`;
  if (runAsUser !== undefined) {
    if (runAsUser === 0) throw new ConfigError(`container's runAsUser breaks non-root policy (${where})`);
  } else if (image.uid === 0) throw new ConfigError(`container has runAsNonRoot and image will run as root (${where})`);
  else if (image.uid === undefined && image.username)
    throw new ConfigError(
      `container has runAsNonRoot and image has non-numeric user (${image.username}), cannot verify user is non-root (${where})`,
    );
}

export function containerSecurity(
  pod: coreV1.Pod,
  container: coreV1.Container,
  image: ImageUser,
  seccompRoot: string,
  targetId?: string,
): MessageInitShape<typeof LinuxContainerSecurityContextSchema> {
  const own = container.securityContext;
  const all = pod.spec.securityContext;
  const runAsUser = own?.runAsUser ?? all?.runAsUser;
  const runAsGroup = own?.runAsGroup ?? all?.runAsGroup;
  verifyNonRoot(pod, container, runAsUser, image);
  const unmasked = own?.privileged || own?.procMount === "Unmasked";
  const profile = apparmor(own?.appArmorProfile ?? all?.appArmorProfile);
  const selinux = own?.seLinuxOptions ?? all?.seLinuxOptions;
  const user =
    runAsUser !== undefined
      ? { runAsUser: int(runAsUser) }
      : image.uid !== undefined
        ? { runAsUser: int(image.uid) }
        : image.username
          ? { runAsUsername: image.username }
          : {};
  return {
    ...user,
    ...(runAsGroup === undefined ? {} : { runAsGroup: int(runAsGroup) }),
    namespaceOptions: targetId ? { ...namespaces(pod.spec), pid: NamespaceMode.TARGET, targetId } : namespaces(pod.spec),
    supplementalGroups: groups(pod.spec),
    supplementalGroupsPolicy: groupsPolicy(pod.spec),
    privileged: own?.privileged ?? false,
    readonlyRootfs: own?.readOnlyRootFilesystem ?? false,
    noNewPrivs: own?.allowPrivilegeEscalation === false,
    capabilities: { addCapabilities: own?.capabilities?.add ?? [], dropCapabilities: own?.capabilities?.drop ?? [] },
    seccomp: seccomp(own?.seccompProfile ?? all?.seccompProfile, seccompRoot),
    maskedPaths: unmasked ? [] : maskedPaths,
    readonlyPaths: unmasked ? [] : readonlyPaths,
    ...(profile ? { apparmor: profile } : {}),
    ...(selinux ? { selinuxOptions: selinux } : {}),
  };
}
