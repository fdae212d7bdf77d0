// What tests of the proxy share: objects, and a node in a network namespace.
import { randomBytes } from "node:crypto";
import type * as coreV1 from "../api/gen/core/v1.ts";
import type * as discoveryV1 from "../api/gen/discovery/v1.ts";

export function service(name: string, spec: Partial<coreV1.ServiceSpec>): coreV1.Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: { type: "ClusterIP", ...spec },
  } as coreV1.Service;
}

export interface Backend {
  ip: string;
  node?: string;
  ready?: boolean;
  serving?: boolean;
  terminating?: boolean;
}

export function slice(serviceName: string, backends: Backend[], ports: discoveryV1.EndpointPort[]): discoveryV1.EndpointSlice {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: `${serviceName}-1`, namespace: "default", labels: { "kubernetes.io/service-name": serviceName } },
    addressType: "IPv4",
    endpoints: backends.map(({ ip, node = "n1", ...conditions }) => ({
      addresses: [ip],
      nodeName: node,
      conditions: { ready: true, ...conditions },
    })),
    ports,
  };
}

/** Runs a command; throws with what it said when it fails. */
export async function sh(...command: string[]): Promise<string> {
  const child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  if (code !== 0) throw new Error(`${command.join(" ")}: ${err || out || `exit code ${code}`}`);
  return out;
}

/** Why a test that needs namespaces and these programs can't run here; undefined when it can. */
export function lacking(...programs: string[]): string | undefined {
  if (process.getuid?.() !== 0) return "needs root";
  const missing = programs.filter((p) => !Bun.which(p));
  return missing.length > 0 ? `needs ${missing.join(", ")}` : undefined;
}

/**
 * A node and pods, each a network namespace: pods hang on the node's bridge as
 * 10.99.0.2, .3, …, the node itself is 10.99.0.1 there and 10.98.0.1 towards
 * `outside` (10.98.0.2).
 */
export class TestNode implements AsyncDisposable {
  readonly name = `kbpx-${randomBytes(3).toString("hex")}`;
  readonly ip = "10.98.0.1";
  readonly podCidr = "10.99.0.0/24";
  readonly #spaces: string[] = [];
  readonly #children: Bun.Subprocess[] = [];

  static async make(pods: number): Promise<TestNode> {
    const node = new TestNode();
    try {
      await node.#setUp(pods);
    } catch (e) {
      await node[Symbol.asyncDispose]();
      throw e;
    }
    return node;
  }

  space(pod: number | "node" | "outside"): string {
    return pod === "node" ? this.name : `${this.name}-${pod}`;
  }
  podIP(pod: number): string {
    return `10.99.0.${pod + 2}`;
  }
  prefix(where: number | "node" | "outside"): string[] {
    return ["ip", "netns", "exec", this.space(where)];
  }
  in(where: number | "node" | "outside", ...command: string[]): Promise<string> {
    return sh(...this.prefix(where), ...command);
  }

  /** Sets a kernel setting of the node. */
  sysctl(key: string, value: string): void {
    Bun.spawnSync([...this.prefix("node"), "sh", "-c", `echo ${value} > /proc/sys/${key}`]);
  }

  /** Answers on TCP (HTTP) and UDP with `name client-address`. */
  async serve(where: number | "node", port: number, name: string): Promise<void> {
    const code = `
      Bun.serve({ port: ${port}, hostname: "0.0.0.0", fetch: (r, s) => new Response("${name} " + s.requestIP(r).address) });
      await Bun.udpSocket({ port: ${port}, hostname: "0.0.0.0", socket: { data(s, d, p, a) { s.send("${name} " + a, p, a); } } });
      console.log("up");`;
    const child = Bun.spawn([...this.prefix(where), process.execPath, "-e", code], { stdout: "pipe", stderr: "inherit" });
    this.#children.push(child);
    await child.stdout.getReader().read();
  }

  /** The answer over TCP: "name client-address"; throws when there is none within so many seconds. */
  get(where: number | "node" | "outside", address: string, seconds = 20): Promise<string> {
    return this.in(where, "curl", "-sS", "--max-time", String(seconds), `http://${address}/`);
  }

  /** The answer over UDP. */
  ask(where: number | "node" | "outside", ip: string, port: number, options: { from?: number } = {}): Promise<string> {
    const code = `
      const s = await Bun.udpSocket({ port: ${options.from ?? 0}, socket: { data(_, d) { console.log(d.toString()); process.exit(0); } } });
      s.send("?", ${port}, "${ip}");
      setTimeout(() => { console.log("no answer"); process.exit(0); }, 20_000);`;
    return this.in(where, process.execPath, "-e", code).then((t) => t.trim());
  }

  async #setUp(pods: number): Promise<void> {
    const add = async (space: string) => {
      await sh("ip", "netns", "add", space);
      this.#spaces.push(space);
      await sh("ip", "-n", space, "link", "set", "lo", "up");
    };
    await add(this.space("node"));
    await sh("ip", "-n", this.name, "link", "add", "cni0", "type", "bridge");
    await sh("ip", "-n", this.name, "addr", "add", "10.99.0.1/24", "dev", "cni0");
    await sh("ip", "-n", this.name, "link", "set", "cni0", "up");
    for (let i = 0; i < pods; i++) {
      await add(this.space(i));
      await this.#wire(this.space(i), `p${i}`, `${this.podIP(i)}/24`, "10.99.0.1", async () => {
        // As the bridge CNI plugin does with hairpinMode: a pod may reach itself through its service.
        await sh("ip", "-n", this.name, "link", "set", `p${i}`, "master", "cni0");
        await sh("ip", "-n", this.name, "link", "set", `p${i}`, "type", "bridge_slave", "hairpin", "on");
      });
    }
    await add(this.space("outside"));
    await this.#wire(this.space("outside"), "up0", "10.98.0.2/24", this.ip, async () => {
      await sh("ip", "-n", this.name, "addr", "add", `${this.ip}/24`, "dev", "up0");
    });
    await sh("ip", "-n", this.name, "route", "add", "default", "via", "10.98.0.2");
    this.sysctl("net/ipv4/ip_forward", "1");
    this.sysctl("net/bridge/bridge-nf-call-iptables", "1");
  }

  async #wire(space: string, device: string, address: string, gateway: string, attach: () => Promise<void>): Promise<void> {
    await sh("ip", "link", "add", device, "netns", this.name, "type", "veth", "peer", "name", "eth0", "netns", space);
    await attach();
    await sh("ip", "-n", this.name, "link", "set", device, "up");
    await sh("ip", "-n", space, "addr", "add", address, "dev", "eth0");
    await sh("ip", "-n", space, "link", "set", "eth0", "up");
    await sh("ip", "-n", space, "route", "add", "default", "via", gateway);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    await Promise.all(this.#children.map((c) => c.exited));
    for (const space of this.#spaces) Bun.spawnSync(["ip", "netns", "del", space]);
  }
}
