// `kubun cri`: the embedded container runtime by itself, where nodes run
// containerd or CRI-O. Flags are named as containerd's.
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { setVerbosity } from "../platform/log.ts";
import { bool, command, type Flag, list, optionalText, text, UsageError, verbosity } from "./flags.ts";
import { runComponent } from "./run-component.ts";

/** Bytes that the kernel leaves for the path of a socket. */
const SOCKET_PATH = 107;

const address: Flag<string> = {
  ...text("SOCKET", "/run/kubun-cri/cri.sock", "unix socket to serve the CRI at"),
  parse: (s) => {
    const path = s.replace(/^unix:\/\//, "");
    if (!path.startsWith("/")) throw new Error("must be an absolute path, with or without unix:// in front");
    if (Buffer.byteLength(path) > SOCKET_PATH) throw new Error(`the path of a socket may have ${SOCKET_PATH} bytes`);
    return path;
  },
};

const id: Flag<string> = {
  ...text("ID", "", "eight hex digits that mark what it makes on the machine; by default drawn from --root"),
  parse: (s) => {
    if (!/^[0-9a-f]{8}$/.test(s)) throw new Error("must be eight hex digits");
    return s;
  },
};

export default command({
  name: "cri",
  summary: "Runs the embedded container runtime, which kubelets reach by CRI",
  flags: {
    address,
    root: text("DIR", "/var/lib/kubun-cri", "where images and containers are kept"),
    state: text("DIR", "/run/kubun-cri", "where sockets and namespaces stand; may vanish with a boot"),
    id,
    "cni-conf-dir": text("DIR", "/etc/cni/net.d", "folder of the CNI configuration"),
    "cni-bin-dirs": list("DIRS", ["/usr/lib/cni", "/opt/cni/bin"], "folders of the CNI plugins"),
    "cgroup-parent": text("PATH", "", "cgroup of pods for which the kubelet names none (default /kubun-ID)"),
    "oci-runtime": optionalText("FILE", "runc or crun; without it the one on PATH"),
    cleanup: bool(false, "end and remove all containers, and exit; images stay"),
    v: verbosity,
  },
  async run(o) {
    setVerbosity(o.v);
    if (process.getuid?.() !== 0) throw new UsageError("the container runtime needs root: it makes namespaces and cgroups");
    const root = resolve(o.root);
    const clusterId = o.id || createHash("sha256").update(root).digest("hex").slice(0, 8);
    const paths = { root, runDir: resolve(o.state), clusterId };
    const { EmbeddedRuntime, removeAll } = await import("../runtime/mod.ts");
    if (o.cleanup) {
      await removeAll(paths);
      return 0;
    }
    return runComponent(
      new EmbeddedRuntime({
        ...paths,
        socketPath: o.address,
        cniConfDir: o["cni-conf-dir"],
        cniBinDirs: o["cni-bin-dirs"],
        cgroupParent: o["cgroup-parent"] || `/kubun-${clusterId}`,
        ociRuntime: o["oci-runtime"],
      }),
    );
  },
});
