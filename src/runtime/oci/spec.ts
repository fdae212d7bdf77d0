// A container's OCI configuration from its CRI configuration, its image and
// its sandbox. Reads no state but what it is given.
import {
  type ContainerConfig,
  type LinuxContainerResources,
  MountPropagation,
  NamespaceMode,
  SecurityProfile_ProfileType,
} from "../../rpc/gen/cri/runtime_pb.ts";
import type { ImageConfig } from "../images/oci.ts";
import { capabilitySets } from "./capabilities.ts";
import { defaultProfile } from "./seccomp.ts";
import type { OciDevice, OciMount, OciNamespace, OciResources, OciSeccomp, OciSpec } from "./types.ts";
import type { ResolvedUser } from "./user.ts";

export interface SandboxView {
  hostname: string;
  /** Pinned namespaces; absent ones are the host's. */
  namespaces: { net?: string; ipc?: string; uts?: string };
  /** The process whose PID namespace the pod shares. */
  pidHolder?: number;
  /** A folder that all containers of the pod see as /dev/shm. */
  shm?: string;
  resolvConf: string;
  hostsFile: string;
  hostnameFile: string;
  privileged: boolean;
}

export interface SpecInput {
  id: string;
  config: ContainerConfig;
  image: ImageConfig;
  user: ResolvedUser;
  sandbox: SandboxView;
  rootfs: string;
  cgroupPath: string;
  cgroupVersion: 1 | 2;
  /** Process of the container whose PID namespace is shared (NamespaceMode TARGET). */
  pidTarget?: number;
  /** Lowest oom_score_adj that the kernel lets us give; undefined for any. */
  oomScoreFloor?: number;
  devices: readonly OciDevice[];
  /** The content of a Localhost profile. */
  seccompProfile?: OciSeccomp;
  annotations: Record<string, string>;
}

const DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Command line by the rules of Kubernetes: a command replaces entrypoint and cmd, args replace cmd. */
export function commandLine(config: ContainerConfig, image: ImageConfig): string[] {
  const { Entrypoint, Cmd } = image.config ?? {};
  if (config.command.length > 0) return [...config.command, ...config.args];
  const args = config.args.length > 0 ? config.args : (Cmd ?? []);
  const line = [...(Entrypoint ?? []), ...args];
  if (line.length === 0 || line[0] === "") throw new Error("no command specified");
  return line;
}

const utf8 = new TextDecoder();

/** Environment: the image's, then the container's over it. */
export function environment(config: ContainerConfig, image: ImageConfig, hostname: string): string[] {
  const env = new Map<string, string>();
  const put = (pair: string) => env.set(pair.slice(0, pair.indexOf("=")), pair);
  put(DEFAULT_PATH);
  put(`HOSTNAME=${hostname}`);
  if (config.tty) put("TERM=xterm");
  for (const pair of image.config?.Env ?? []) if (pair.includes("=")) put(pair);
  for (const { key, value } of config.envs) env.set(key, `${key}=${utf8.decode(value)}`);
  return [...env.values()];
}

const PROPAGATION: Readonly<Record<MountPropagation, string>> = {
  [MountPropagation.PROPAGATION_PRIVATE]: "rprivate",
  [MountPropagation.PROPAGATION_HOST_TO_CONTAINER]: "rslave",
  [MountPropagation.PROPAGATION_BIDIRECTIONAL]: "rshared",
};

const depth = (path: string) => path.split("/").filter((p) => p !== "").length;

function mounts(input: SpecInput, privileged: boolean): OciMount[] {
  const { config, sandbox } = input;
  const sysfs = privileged ? "rw" : "ro";
  const all: OciMount[] = [
    { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
    { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", sysfs] },
    { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "relatime", sysfs] },
    { destination: "/dev/shm", type: "bind", source: sandbox.shm ?? "/dev/shm", options: ["rbind", "rw", "nosuid", "noexec", "nodev"] },
  ];
  const own = new Set(config.mounts.map((m) => m.containerPath.replace(/\/+$/, "")));
  const files = [
    ["/etc/hosts", sandbox.hostsFile],
    ["/etc/hostname", sandbox.hostnameFile],
    ["/etc/resolv.conf", sandbox.resolvConf],
  ] as const;
  for (const [destination, source] of files) {
    const access = config.linux?.securityContext?.readonlyRootfs ? "ro" : "rw";
    if (!own.has(destination)) all.push({ destination, type: "bind", source, options: ["rbind", "rprivate", access] });
  }
  const overridden = all.filter((m) => !own.has(m.destination));
  const asked = [...config.mounts].sort((a, b) => depth(a.containerPath) - depth(b.containerPath));
  return [
    ...overridden,
    ...asked.map((m) => ({
      destination: m.containerPath,
      type: "bind",
      source: m.hostPath,
      options: ["rbind", PROPAGATION[m.propagation] ?? "rprivate", m.recursiveReadOnly ? "rro" : m.readonly ? "ro" : "rw"],
    })),
  ];
}

function rootfsPropagation(config: ContainerConfig): string | undefined {
  if (config.mounts.some((m) => m.propagation === MountPropagation.PROPAGATION_BIDIRECTIONAL)) return "rshared";
  if (config.mounts.some((m) => m.propagation === MountPropagation.PROPAGATION_HOST_TO_CONTAINER)) return "rslave";
  return undefined;
}

function namespaces(input: SpecInput): OciNamespace[] {
  const { sandbox } = input;
  const options = input.config.linux?.securityContext?.namespaceOptions;
  const list: OciNamespace[] = [{ type: "mount" }];
  if (sandbox.namespaces.net !== undefined) list.push({ type: "network", path: sandbox.namespaces.net });
  if (sandbox.namespaces.ipc !== undefined) list.push({ type: "ipc", path: sandbox.namespaces.ipc });
  if (sandbox.namespaces.uts !== undefined) list.push({ type: "uts", path: sandbox.namespaces.uts });
  const mode = options?.pid ?? NamespaceMode.POD;
  if (mode === NamespaceMode.TARGET && input.pidTarget !== undefined) list.push({ type: "pid", path: `/proc/${input.pidTarget}/ns/pid` });
  else if (mode === NamespaceMode.POD && sandbox.pidHolder !== undefined)
    list.push({ type: "pid", path: `/proc/${sandbox.pidHolder}/ns/pid` });
  else if (mode !== NamespaceMode.NODE) list.push({ type: "pid" });
  if (input.cgroupVersion === 2) list.push({ type: "cgroup" });
  return list;
}

const positive = (n: bigint | undefined) => (n !== undefined && n > 0n ? Number(n) : undefined);

/** CRI resources as the OCI runtime takes them; what isn't set stays away. */
export function resources(r: LinuxContainerResources | undefined): OciResources {
  const out: OciResources = {};
  if (r === undefined) return out;
  const memory = positive(r.memoryLimitInBytes);
  const swap = positive(r.memorySwapLimitInBytes);
  if (memory !== undefined || swap !== undefined) out.memory = { limit: memory, swap };
  const cpu = {
    shares: positive(r.cpuShares),
    quota: r.cpuQuota !== 0n ? Number(r.cpuQuota) : undefined,
    period: positive(r.cpuPeriod),
    cpus: r.cpusetCpus || undefined,
    mems: r.cpusetMems || undefined,
  };
  if (Object.values(cpu).some((v) => v !== undefined)) out.cpu = cpu;
  if (r.hugepageLimits.length > 0) out.hugepageLimits = r.hugepageLimits.map((h) => ({ pageSize: h.pageSize, limit: Number(h.limit) }));
  if (Object.keys(r.unified).length > 0) out.unified = { ...r.unified };
  return out;
}

function seccomp(input: SpecInput, privileged: boolean, bounding: readonly string[]): OciSeccomp | undefined {
  if (privileged) return undefined;
  switch (input.config.linux?.securityContext?.seccomp?.profileType) {
    case SecurityProfile_ProfileType.RuntimeDefault:
      return defaultProfile(bounding);
    case SecurityProfile_ProfileType.Localhost:
      return input.seccompProfile;
    default:
      return undefined;
  }
}

/** The whole configuration. @throws Error if there is nothing to run or a capability is unknown. */
export function containerSpec(input: SpecInput): OciSpec {
  const { config, image, user, sandbox } = input;
  const security = config.linux?.securityContext;
  const privileged = security?.privileged ?? false;
  const capabilities = capabilitySets({
    privileged,
    add: security?.capabilities?.addCapabilities ?? [],
    drop: security?.capabilities?.dropCapabilities ?? [],
    ambient: security?.capabilities?.addAmbientCapabilities ?? [],
  });
  const wantedOom = Number(config.linux?.resources?.oomScoreAdj ?? 0n);
  const limits = resources(config.linux?.resources);
  limits.devices = privileged
    ? [{ allow: true, access: "rwm" }]
    : [
        { allow: false, access: "rwm" },
        ...input.devices.map((d) => ({ allow: true, type: d.type, major: d.major, minor: d.minor, access: "rwm" })),
      ];
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: config.tty,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.groups },
      args: commandLine(config, image),
      env: environment(config, image, sandbox.hostname),
      cwd: config.workingDir || image.config?.WorkingDir || "/",
      capabilities,
      noNewPrivileges: security?.noNewPrivs ?? false,
      oomScoreAdj: input.oomScoreFloor === undefined ? wantedOom : Math.max(wantedOom, input.oomScoreFloor),
    },
    root: { path: input.rootfs, readonly: security?.readonlyRootfs ?? false },
    mounts: mounts(input, privileged),
    annotations: input.annotations,
    linux: {
      namespaces: namespaces(input),
      cgroupsPath: input.cgroupPath,
      resources: limits,
      devices: [...input.devices],
      ...(privileged ? {} : { maskedPaths: [...(security?.maskedPaths ?? [])], readonlyPaths: [...(security?.readonlyPaths ?? [])] }),
      rootfsPropagation: rootfsPropagation(config),
      seccomp: seccomp(input, privileged, capabilities.bounding),
    },
  };
}
