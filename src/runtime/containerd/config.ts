// Debian's containerd as a private one: nothing of it outside three folders.
import { existsSync } from "node:fs";
import { join } from "node:path";

export interface ContainerdPaths {
  /** Images and snapshots; survives a boot. */
  root: string;
  /** Sockets, namespaces and bundles. */
  state: string;
  /** At most 107 bytes. */
  socket: string;
}

export interface ContainerdOptions extends ContainerdPaths {
  cniConfDir: string;
  cniBinDirs: readonly string[];
}

export const PAUSE_IMAGE = "kubun.dev/pause:1";

const quoted = (text: string) => JSON.stringify(text);

/** What this containerd is asked to leave out: it would write outside its folders, or wait for what isn't there. */
const DISABLED = [
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.restart",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
];

const CRI = '[plugins."io.containerd.grpc.v1.cri"';

/** config.toml, version 2. */
export function containerdConfig(o: ContainerdOptions): string {
  const runtime = (name: string) => `${CRI}.containerd.runtimes.${name}]
  runtime_type = "io.containerd.runc.v2"
${CRI}.containerd.runtimes.${name}.options]
  Root = ${quoted(join(o.state, "runc"))}
`;
  const binDir = o.cniBinDirs.find((dir) => existsSync(dir)) ?? o.cniBinDirs[0] ?? "/opt/cni/bin";
  return `version = 2
root = ${quoted(o.root)}
state = ${quoted(o.state)}
oom_score = 0
disabled_plugins = ${JSON.stringify(DISABLED)}

[grpc]
  address = ${quoted(o.socket)}

${CRI}]
  sandbox_image = ${quoted(PAUSE_IMAGE)}
  # Lowering the score needs CAP_SYS_RESOURCE, which root in a sandbox often lacks.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
${CRI}.cni]
  bin_dir = ${quoted(binDir)}
  conf_dir = ${quoted(o.cniConfDir)}
${CRI}.containerd]
  default_runtime_name = "runc"
  snapshotter = "overlayfs"
${runtime("runc")}${runtime("bun")}`;
}
