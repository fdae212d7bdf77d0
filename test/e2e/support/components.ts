// A cluster put together from separate processes, each with upstream's flags
// and upstream's identity, as an administrator without `up` would do it.
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nthAddress, parseCidr } from "../../../src/cmd/cluster/cidr.ts";
import {
  bridgeName,
  nodeAddress,
  prepareHost,
  removeBridge,
  removeUnreachableRoute,
  restoreSysctls,
  writeCniConfig,
} from "../../../src/cmd/cluster/host.ts";
import { writeKubeconfig } from "../../../src/cmd/cluster/kubeconfig.ts";
import { type KeyPair, Pki } from "../../../src/cmd/cluster/pki.ts";
import { removeAllPods } from "../../../src/kubelet/mod.ts";
import { removeCgroup } from "../../../src/platform/cgroup.ts";
import { freePorts } from "../../../src/testing/ports.ts";
import { ok, type Result, run } from "./cluster.ts";
import { componentSpecs, criFlags, kubun, type Layout, PORTS } from "./component-flags.ts";
import { ComponentProcess, type ComponentSpec } from "./component-process.ts";
import { kubectlOnPath } from "./tools.ts";

export type ComponentsOptions = Pick<Layout, "store" | "kubeletCertificate">;

/** Client certificates: file, user, groups. None is a member of system:masters but the administrator's. */
const IDENTITIES: [file: string, user: string, ...groups: string[]][] = [
  ["admin", "kubernetes-admin", "system:masters"],
  ["kube-controller-manager", "system:kube-controller-manager"],
  ["kube-scheduler", "system:kube-scheduler"],
  ["kube-proxy", "system:kube-proxy"],
  ["coredns", "system:coredns"],
  ["monitoring", "prometheus", "system:monitoring"],
  ["apiserver-kubelet-client", "kube-apiserver-kubelet-client"],
];

// Networks are drawn per cluster, apart from those of TestCluster.
const draw = () => randomBytes(1)[0]! % 200;

export class ComponentCluster implements AsyncDisposable {
  readonly id = randomBytes(4).toString("hex");
  readonly dir = mkdtempSync(join(tmpdir(), "kubun-components-"));
  readonly runDir = `/run/kubun/${this.id}`;
  readonly node = `node-${this.id}`;
  readonly table = `kubun-proxy-${this.id}`;
  readonly cgroup = `/kubun-${this.id}`;
  readonly podCidr = `10.${20 + draw()}.${draw()}.0/24`;
  readonly serviceCidr = `172.31.${draw()}.0/24`;
  readonly ip = nodeAddress()!;
  readonly processes = new Map<string, ComponentProcess>();
  readonly #options: ComponentsOptions;
  #ports!: Layout["ports"];
  #pki!: Pki;
  #monitoring!: KeyPair;

  private constructor(options: ComponentsOptions) {
    this.#options = options;
  }

  /** Starts everything at once: each waits for what it needs. */
  static async start(options: ComponentsOptions): Promise<ComponentCluster> {
    const cluster = new ComponentCluster(options);
    try {
      await cluster.#prepare();
      for (const spec of componentSpecs(cluster.#layout())) cluster.#add(spec);
      for (const p of cluster.processes.values()) p.start();
      await cluster.process("kube-apiserver").ready();
      await cluster.#addons();
      await Promise.all([...cluster.processes.values()].map((p) => p.ready()));
    } catch (e) {
      await cluster[Symbol.asyncDispose]();
      throw e;
    }
    return cluster;
  }

  get kubeconfig(): string {
    return this.kubeconfigOf("admin");
  }

  /** The kubeconfig that a component uses. */
  kubeconfigOf(name: string): string {
    return join(this.dir, `${name}.kubeconfig`);
  }

  get criSocket(): string {
    return `${this.runDir}/cri.sock`;
  }

  get server(): string {
    return `https://${this.ip}:${this.#ports.api}`;
  }

  process(name: string): ComponentProcess {
    return this.processes.get(name)!;
  }

  /** kubectl with the credentials of a component, or of the administrator. */
  tryKubectl(args: string[], as = "admin"): Promise<Result> {
    return run([kubectlOnPath(), ...args], { env: { KUBECONFIG: this.kubeconfigOf(as), HOME: this.dir } });
  }

  /** kubectl that has to succeed; returns what it printed. */
  async kubectl(args: string[]): Promise<string> {
    const r = await this.tryKubectl(args);
    if (r.code !== 0) throw new Error(`kubectl ${args.join(" ")}: exit code ${r.code}\n${r.stdout}${r.stderr}`);
    return r.stdout;
  }

  /** The ends of all logs, for error messages. */
  logs(): string {
    return [...this.processes.values()].map((p) => `== ${p.name}\n${p.log().split("\n").slice(-15).join("\n")}`).join("\n");
  }

  #add(spec: ComponentSpec): void {
    this.processes.set(spec.name, new ComponentProcess(spec, join(this.dir, `${spec.name}.log`)));
  }

  async #prepare(): Promise<void> {
    const ports = freePorts(PORTS.length);
    this.#ports = Object.fromEntries(PORTS.map((n, i) => [n, ports[i]])) as Layout["ports"];
    mkdirSync(this.runDir, { recursive: true });
    this.#pki = await Pki.open(join(this.dir, "pki"));
    await this.#pki.serviceAccountKeys();
    const hosts = ["localhost", "127.0.0.1", this.ip, nthAddress(parseCidr(this.serviceCidr), 1), "kubernetes.default.svc"];
    await this.#pki.leaf({ name: "apiserver", commonName: "kube-apiserver", hosts });
    const kubelet = { commonName: `system:node:${this.node}`, organizations: ["system:nodes"] };
    await this.#pki.leaf({ name: "kubelet-serving", ...kubelet, hosts: [this.node, this.ip] });
    const identities: typeof IDENTITIES = [...IDENTITIES, ["kubelet", kubelet.commonName, ...kubelet.organizations]];
    for (const [name, user, ...groups] of identities) {
      const pair = await this.#pki.leaf({ name, commonName: user, organizations: groups });
      const identity = { user, certPem: pair.cert, keyPem: pair.key };
      writeKubeconfig(this.kubeconfigOf(name), { server: this.server, caPem: this.#pki.ca.cert, ...identity });
      if (name === "monitoring") this.#monitoring = pair;
    }
    prepareHost(this.podCidr, false);
    const cni = { confDir: join(this.dir, "net.d"), ipamDir: join(this.dir, "ipam") };
    writeCniConfig({ clusterId: this.id, podCidr: this.podCidr, ...cni });
  }

  #layout(): Layout {
    const { id, dir, runDir, node, ip, table, cgroup, podCidr, serviceCidr, dnsIp, criSocket } = this;
    return {
      ...{ id, dir, runDir, node, ip, table, cgroup, podCidr, serviceCidr, dnsIp, criSocket },
      ...this.#options,
      ports: this.#ports,
      monitoring: this.#monitoring,
      pki: (file) => join(dir, "pki", file),
      kubeconfig: (name) => this.kubeconfigOf(name),
    };
  }

  get dnsIp(): string {
    return nthAddress(parseCidr(this.serviceCidr), 10);
  }

  /** What an administrator applies: the name server's Service, the runtime's class, and the right to use kubelets' APIs. */
  async #addons(): Promise<void> {
    const inSystem = { name: "kube-dns", namespace: "kube-system" };
    const protocols = ["UDP", "TCP"].map((protocol) => ({ name: `dns-${protocol.toLowerCase()}`, protocol }));
    const objects = [
      { apiVersion: "node.k8s.io/v1", kind: "RuntimeClass", metadata: { name: "bun" }, handler: "bun" },
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRoleBinding",
        metadata: { name: "kube-apiserver-kubelet-client" },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:kubelet-api-admin" },
        subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "kube-apiserver-kubelet-client" }],
      },
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: inSystem,
        spec: { clusterIP: this.dnsIp, ports: protocols.map((p) => ({ ...p, port: 53 })) },
      },
      {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { ...inSystem, labels: { "kubernetes.io/service-name": "kube-dns" } },
        addressType: "IPv4",
        endpoints: [{ addresses: [this.ip] }],
        ports: protocols.map((p) => ({ ...p, port: this.#ports.dns })),
      },
    ];
    const file = join(this.dir, "addons.json");
    writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }));
    await this.kubectl(["apply", "-f", file]);
  }

  /** What of this cluster is left on the machine; nothing after it was disposed of. */
  async leftovers(): Promise<string[]> {
    const found = async (...command: string[]) =>
      (await ok(command)).split("\n").filter((l) => l.includes(this.id) || l.includes(this.podCidr));
    const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
    const mine = (l: string) => l.includes(this.dir) || l.includes(this.runDir);
    return [
      ...(await found("ip", "-o", "link")),
      ...(await found("ip", "route")),
      ...(await found("nft", "list", "tables")),
      ...(await found("find", "/sys/fs/cgroup", "-maxdepth", "2", "-name", `*${this.id}*`)),
      ...mounts.filter(mine),
      ...(await ok(["ps", "-eo", "args"])).split("\n").filter((l) => mine(l) && !l.startsWith("ps ")),
      ...[this.dir, this.runDir].filter(existsSync),
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.processes.values()].filter((p) => p.running).map((p) => p.end("SIGKILL")));
    // Only what has a process was prepared far enough to need these.
    if (this.processes.size > 0) {
      await ok(kubun("cri", { ...criFlags(this.#layout()), cleanup: true }));
      await ok(kubun("proxy", { "nftables-table": this.table, cleanup: true }));
      await removeAllPods({ rootDir: join(this.dir, "kubelet") });
    }
    if (existsSync(`/sys/class/net/${bridgeName(this.id)}`)) removeBridge(this.id);
    removeUnreachableRoute(this.podCidr);
    await removeCgroup(this.cgroup);
    rmSync(this.runDir, { recursive: true, force: true });
    rmSync(this.dir, { recursive: true, force: true });
    restoreSysctls();
  }
}
