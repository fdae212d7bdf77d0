// `kubun up`: a whole cluster in one process, in the foreground or detached.
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { setLogWriter, setVerbosity } from "../platform/log.ts";
import { Checklist } from "./cluster/checklist.ts";
import { checkNetworks, parseCidr } from "./cluster/cidr.ts";
import { fetchStatus } from "./cluster/control.ts";
import { markEnding } from "./cluster/guard.ts";
import { nodeAddress } from "./cluster/host.ts";
import { checkPodNetwork, takenNetworks } from "./cluster/host-network.ts";
import { podCidrOf } from "./cluster/nodes.ts";
import { type DetachedMessage, DetachedProgress, type Progress } from "./cluster/progress.ts";
import { selfCommand } from "./cluster/self.ts";
import { type ClusterFile, DataDir, isRunning } from "./cluster/state.ts";
import { etcdFlags, etcdSettings } from "./cluster/store-choice.ts";
import type { UpOptions } from "./cluster/up-options.ts";
import { bool, choice, command, type Flag, integer, text, UsageError, verbosity } from "./flags.ts";

const network = (fallback: string, help: string): Flag<string> => ({
  ...text("CIDR", fallback, help),
  parse: (s) => {
    parseCidr(s);
    return s;
  },
});

const domain: Flag<string> = {
  ...text("DOMAIN", "cluster.local", "DNS domain of services and pods"),
  parse: (s) => {
    if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(s)) {
      throw new Error('must be a DNS name in lower case, such as "cluster.local"');
    }
    return s;
  },
};

const controlPlanes: Flag<number> = {
  ...integer("N", 1, "number of control planes, with a member of the store each; several get a network namespace each"),
  parse: (s) => {
    if (!/^[1357]$/.test(s)) throw new Error("must be 1, 3, 5 or 7: an even number survives no more failures than the odd one below it");
    return Number(s);
  },
};

const flags = {
  "data-dir": text("DIR", ".kubun", "folder that holds all of the cluster's data"),
  kubeconfig: text("FILE", "", "where to write the administrator's kubeconfig (default DATA-DIR/admin.kubeconfig)"),
  port: integer("N", 6443, "port of the apiserver; 0 picks a free one", [0, 65535]),
  nodes: integer(
    "N",
    1,
    "number of nodes; those after the first each get a network namespace (default of an existing cluster: as many as it has)",
    [1, 100],
  ),
  "pod-cidr": network("10.244.0.0/16", "network of pods; each node gets a /24 of it"),
  "service-cidr": network("10.96.0.0/12", "network of service addresses"),
  "cluster-domain": domain,
  runtime: choice(["auto", "containerd", "embedded"], "auto", "container runtime; auto takes a running containerd, else the embedded one"),
  "container-runtime-endpoint": text("SOCKET", "", "unix socket of a CRI runtime to use instead"),
  "control-planes": controlPlanes,
  ...etcdFlags,
  "control-plane-only": bool(false, "no node: only store, apiserver, controllers and scheduler; needs no root"),
  detach: bool(false, "return when the cluster is ready and leave it running"),
  v: verbosity,
  // Set by --detach for the process that stays.
  "detached-child": { ...bool(false, ""), hidden: true },
  // Set for the process that makes certificates.
  "issuing-child": { ...bool(false, ""), hidden: true },
};

function checked(values: { [K in keyof typeof flags]: (typeof flags)[K] extends Flag<infer T> ? T : never }): UpOptions {
  const dataDir = resolve(values["data-dir"]);
  const endpoint = values["container-runtime-endpoint"].replace(/^unix:\/\//, "");
  if (endpoint !== "" && !endpoint.startsWith("/")) {
    throw new UsageError(
      `--container-runtime-endpoint ${endpoint}: must be an absolute path of a unix socket, with or without unix:// in front`,
    );
  }
  if (endpoint !== "" && values.runtime === "embedded")
    throw new UsageError("--container-runtime-endpoint and --runtime embedded exclude each other");
  if (!values["control-plane-only"] && process.getuid?.() !== 0) {
    throw new UsageError("a node needs root, for containers and their networks: run as root, or with --control-plane-only");
  }
  if (values["control-planes"] > 1 && process.getuid?.() !== 0) {
    throw new UsageError("--control-planes needs root, for the network namespace of each: run as root, or leave it out");
  }
  checkNetworks(values["pod-cidr"], values["service-cidr"], nodeAddress());
  podCidrOf(values["pod-cidr"], values.nodes - 1);
  return {
    dataDir,
    kubeconfig: resolve(values.kubeconfig || `${dataDir}/admin.kubeconfig`),
    port: values.port,
    nodes: values.nodes,
    podCidr: values["pod-cidr"],
    serviceCidr: values["service-cidr"],
    clusterDomain: values["cluster-domain"],
    runtime: values.runtime,
    containerRuntimeEndpoint: endpoint,
    controlPlaneOnly: values["control-plane-only"],
    controlPlanes: values["control-planes"],
    etcd: etcdSettings(values),
    storageMediaType: values["storage-media-type"],
    verbosity: values.v,
  };
}

const hint = (kubeconfig: string) => `\nexport KUBECONFIG=${kubeconfig}\n`;

/** Milliseconds that a process may take to answer, or to end after it was killed. */
const ANSWER_TIMEOUT = 10_000;

/** Whether the running cluster answers; false once its process, which may be dying, has ended. */
async function answers(cluster: ClusterFile): Promise<boolean> {
  const deadline = Date.now() + ANSWER_TIMEOUT;
  while (isRunning(cluster)) {
    const status = await fetchStatus(cluster.runDir, 1000).catch(() => undefined);
    if (status) return true;
    if (Date.now() > deadline) throw new Error(`process ${cluster.pid} holds ${cluster.runDir} and does not answer: 'kubun down' ends it`);
    await Bun.sleep(20);
  }
  return false;
}

/** Starts a second process that stays, and shows what it reports until it is ready. */
async function detach(options: UpOptions): Promise<number> {
  const logFile = `${options.dataDir}/log/kubun.log`;
  mkdirSync(dirname(logFile), { recursive: true, mode: 0o700 });
  const log = openSync(logFile, "a", 0o600);
  const [program, ...args] = selfCommand(...process.argv.slice(2), "--detached-child");
  const child = spawn(program!, args, {
    detached: true,
    stdio: ["ignore", "pipe", log],
  });
  closeSync(log);
  const checklist = new Checklist();
  let buffered = "";
  const outcome = await new Promise<DetachedMessage | undefined>((done) => {
    child.stdout!.on("data", (chunk: Buffer) => {
      const lines = (buffered + chunk).split("\n");
      buffered = lines.pop()!;
      for (const line of lines) {
        const message = JSON.parse(line) as DetachedMessage;
        if (message.type === "step") checklist.step(message.step);
        else done(message);
      }
    });
    child.on("exit", () => done(undefined));
  });
  checklist.close();
  child.unref();
  child.stdout!.destroy();
  if (outcome?.type === "ready") {
    process.stdout.write(hint(outcome.kubeconfig));
    return 0;
  }
  if (outcome?.type === "failed" && outcome.usage) throw new UsageError(outcome.message);
  throw new Error(`${outcome?.type === "failed" ? outcome.message : "kubun ended while it started"} (log: ${logFile})`);
}

/** Resolves with the first signal that asks this process to end. */
function ended(): Promise<NodeJS.Signals> {
  return new Promise((done) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => done(signal));
  });
}

async function foreground(options: UpOptions, given: ReadonlySet<string>, progress: Progress): Promise<number> {
  const stop = ended();
  const { startCluster } = await import("./cluster/cluster.ts");
  const running = await startCluster(options, given, progress);
  if (progress instanceof DetachedProgress) {
    progress.send({ type: "ready", server: running.server, kubeconfig: options.kubeconfig });
  } else {
    (progress as Checklist).close();
    process.stdout.write(`${hint(options.kubeconfig)}\nCtrl-C stops the cluster and its containers.\n`);
  }
  const signal = await stop;
  await running.stop();
  // Ctrl-C is a person who is done; SIGTERM may be an upgrade, and containers outlive that.
  if (signal === "SIGINT" && !(progress instanceof DetachedProgress)) {
    process.stdout.write("\nstopping ...\n");
    const { takeDown } = await import("./cluster/take-down.ts");
    await takeDown(new DataDir(options.dataDir));
  }
  return 0;
}

export default command({
  name: "up",
  summary: "Starts a cluster on this machine",
  flags,
  async run(values, _args, given) {
    if (values["issuing-child"]) return (await import("./cluster/issuing.ts")).answerQuestions().then(() => 0);
    setVerbosity(values.v);
    const options = checked(values);
    const dir = new DataDir(options.dataDir);
    if (values["detached-child"]) {
      const progress = new DetachedProgress();
      try {
        options.restart = { command: selfCommand(...process.argv.slice(2)), cwd: process.cwd() };
        await foreground(options, given as ReadonlySet<string>, progress);
        // Its output went to a process that is long gone, so there is nothing to flush.
        process.exit(0);
      } catch (e) {
        progress.send({ type: "failed", message: e instanceof Error ? e.message : String(e), usage: e instanceof UsageError });
        throw e;
      }
    }
    const stored = dir.read();
    if (isRunning(stored) && (await answers(stored))) {
      if (given.has("port") && options.port !== 0 && new URL(stored.server).port !== String(options.port)) {
        throw new UsageError(`--port ${options.port}: the cluster in ${dir.path} already runs at ${stored.server}; 'kubun down' stops it`);
      }
      if (given.has("nodes") && stored.nodes !== options.nodes)
        throw new UsageError(`--nodes ${options.nodes}: the cluster in ${dir.path} runs with ${stored.nodes}: 'kubun down' first, then up`);
      const wanted = dir.open(options, given as ReadonlySet<string>).controlPlanes ?? 1;
      const planes = stored.controlPlanes ?? 1;
      if (wanted !== planes)
        throw new UsageError(`--control-planes ${wanted}: the cluster in ${dir.path} runs with ${planes}: 'kubun down' first, then up`);
      process.stdout.write(`already running at ${stored.server} (process ${stored.pid})\n${hint(stored.kubeconfig)}`);
      return 0;
    }
    if (!options.controlPlaneOnly) checkPodNetwork(stored?.podCidr ?? options.podCidr, stored?.id, takenNetworks(""));
    // Before anything is made that would bind the data dir to it.
    const etcd = options.etcd ?? stored?.etcd;
    if (etcd) await (await import("./cluster/outside-store.ts")).lookAt(etcd);
    // Made here so that a bad data dir is told at once, before anything is started.
    dir.open(options, given as ReadonlySet<string>);
    // What is about to be started here, nobody else starts.
    if (stored) markEnding(stored);
    if (values.detach) return detach(options);
    const logFile = dir.file("log/kubun.log");
    mkdirSync(dirname(logFile), { recursive: true, mode: 0o700 });
    const log = openSync(logFile, "a", 0o600);
    setLogWriter((line) => {
      try {
        writeSync(log, line);
      } catch {
        // As on stderr: a full disk loses log lines, and nothing else.
      }
      if (values.v > 0) process.stderr.write(line);
    });
    return foreground(options, given as ReadonlySet<string>, new Checklist());
  },
});
