// `up --control-planes 3`: what one control plane's end, or its being cut off,
// must not be noticed by.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type * as core from "../../src/api/gen/core/v1.ts";
import type { KubeObject } from "../../src/api/object.ts";
import { HttpTransport } from "../../src/client/http.ts";
import { loadKubeconfig } from "../../src/client/kubeconfig.ts";
import { noEtcdctl } from "../../src/testing/etcd.ts";
import { kubun, ok, TestCluster, until } from "./support/cluster.ts";
import { machineState } from "./support/machine.ts";
import { root } from "./support/tools.ts";

const missing = noEtcdctl;
if (missing) console.log(`skipped: ${missing}`);

interface Row {
  name: string;
  node: string;
  healthy: boolean;
  message: string;
  address: string;
  pid: number;
}

const PLANES = ["control-plane-1", "control-plane-2", "control-plane-3"];
const configMaps = { group: "", version: "v1", resource: "configmaps", namespace: "default" };

/** Writes without a pause, and notes what was acknowledged. */
class Writer {
  readonly acknowledged: string[] = [];
  /** Why writes were not. */
  readonly failures: string[] = [];
  readonly #api: HttpTransport;
  readonly #prefix: string;
  #stopped = false;
  #running: Promise<unknown>;

  constructor(api: HttpTransport, prefix: string) {
    this.#api = api;
    this.#prefix = prefix;
    this.#running = Promise.all([0, 1, 2].map((n) => this.#run(n)));
  }

  async #run(n: number): Promise<void> {
    for (let i = 0; !this.#stopped; i++) {
      const name = `${this.#prefix}-${n}-${i}`;
      try {
        await this.#api.create(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { name, labels: { writer: this.#prefix } } });
        this.acknowledged.push(name);
      } catch (error) {
        // Not acknowledged: whether it was stored is open.
        this.failures.push((error as Error).message);
        await Bun.sleep(20);
      }
    }
  }

  /** Resolves once this many more were acknowledged. */
  async progress(count: number): Promise<void> {
    const from = this.acknowledged.length;
    await until(`${count} writes after the ${from}th`, () => this.acknowledged.length >= from + count, 60_000);
  }

  /** Ends it; every acknowledged write is there. */
  async check(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    const { items } = await this.#api.list<KubeObject>(configMaps, { labelSelector: `writer=${this.#prefix}` });
    const names = new Set(items.map((o) => o.metadata.name!));
    expect(this.acknowledged.filter((name) => !names.has(name))).toEqual([]);
    expect(this.acknowledged.length).toBeGreaterThan(20);
  }
}

describe.skipIf(missing !== undefined)("three control planes", () => {
  let cluster: TestCluster;
  let api: HttpTransport;

  /** What of the machine is this cluster's; other clusters may come and go beside it. */
  const left = (id: string) =>
    Object.values(machineState() as unknown as Record<string, string[]>)
      .flat()
      .filter((line) => line.includes(id) || line.includes(cluster.dataDir));

  const status = async (): Promise<Row[]> =>
    (JSON.parse((await kubun(["status", `--data-dir=${cluster.dataDir}`, "-o", "json"])).stdout) as { components: Row[] }).components;
  const row = async (plane: string, component: string) => (await status()).find((r) => r.node === plane && r.name === component);
  const well = () =>
    until(
      "every plane to be well",
      async () => {
        const rows = await status();
        const unwell = rows.filter((r) => !r.healthy).map((r) => `${r.node} ${r.name}: ${r.message}`);
        if (unwell.length > 0) throw new Error(unwell.join("; "));
        return PLANES.every((p) => rows.filter((r) => r.node === p).length === 4);
      },
      90_000,
    );
  const leads = async (component: string) => (await status()).find((r) => r.name === component && r.address === "leader");

  /** The plane whose member of the store leads, as etcdctl sees it. */
  const storeLeader = () => until("a leader of the store", askedForLeader);
  const askedForLeader = async (): Promise<string | undefined> => {
    const endpoints = (await status()).filter((r) => r.name === "etcd").map((r) => r.address);
    const pki = (file: string) => join(cluster.dataDir, "pki/etcd", file);
    const out = await ok(
      [
        "etcdctl",
        `--endpoints=${endpoints.join(",")}`,
        `--cacert=${pki("ca.crt")}`,
        `--cert=${pki("client.crt")}`,
        `--key=${pki("client.key")}`,
      ].concat(["endpoint", "status", "-w", "json"]),
      { env: { ETCDCTL_API: "3" } },
    );
    const told = JSON.parse(out) as { Endpoint: string; Status: { header: { member_id: number }; leader: number } }[];
    const leader = told.find((t) => t.Status.leader === t.Status.header.member_id);
    return leader && (await status()).find((r) => r.address === leader.Endpoint)?.node;
  };
  const kill = async (plane: string): Promise<number> => {
    const { pid } = (await row(plane, "etcd"))!;
    process.kill(pid, "SIGKILL");
    return pid;
  };
  const rejoined = (plane: string, killed: number) =>
    until(
      `${plane} to be back`,
      async () => {
        const rows = (await status()).filter((r) => r.node === plane);
        return rows.length === 4 && rows.every((r) => r.healthy && r.pid !== killed);
      },
      60_000,
    );
  const page = async () => {
    const ip = (await cluster.kubectl(["get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}"])).trim();
    return ok(["curl", "-sS", "--max-time", "5", `http://${ip}/`]);
  };

  beforeAll(async () => {
    cluster = await TestCluster.up(["--control-planes=3"]);
    api = new HttpTransport(await loadKubeconfig(cluster.kubeconfig), { timeout: 15_000 });
  }, 120_000);
  afterAll(async () => {
    api?.close();
    await cluster?.[Symbol.asyncDispose]();
  }, 60_000);

  test("status lists the four systems of each, in a process each, and one of each kind leads", async () => {
    const rows = await status();
    for (const plane of PLANES) {
      const own = rows.filter((r) => r.node === plane);
      expect(own.map((r) => r.name)).toEqual(["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]);
      expect(new Set(own.map((r) => r.pid)).size).toBe(1);
    }
    expect(new Set(rows.filter((r) => PLANES.includes(r.node)).map((r) => r.pid)).size).toBe(3);
    expect(rows.filter((r) => r.name === "balancer").map((r) => r.address)).toEqual([cluster.state.server]);
    for (const component of ["kube-controller-manager", "kube-scheduler"]) {
      await until(`a leading ${component}`, () => leads(component));
      expect((await status()).filter((r) => r.name === component && r.address === "leader")).toHaveLength(1);
    }
  });

  test("the example rolls out; logs and exec reach the kubelet, and pods the apiserver", async () => {
    await cluster.kubectl(["apply", "-f", join(root, "examples/hello")]);
    await cluster.kubectl(["rollout", "status", "deployment/hello", "--timeout=60s"]);
    expect(await until("the page", page)).toMatch(/^Hello from hello-/);
    const pod = (await cluster.kubectl(["get", "pods", "-l", "app=hello", "-o", "jsonpath={.items[0].metadata.name}"])).trim();
    expect(await cluster.kubectl(["logs", pod])).toContain("listening on port 8080");
    const script = `const ca = Bun.file("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt");
      console.log((await fetch("https://kubernetes.default.svc/readyz", { tls: { ca } })).status);`;
    expect(await cluster.kubectl(["exec", pod, "--", "bun", "-e", script])).toBe("200\n");
  }, 90_000);

  test("services made at once through each apiserver have addresses and node ports of their own", async () => {
    const config = await loadKubeconfig(cluster.kubeconfig);
    const apis = await Promise.all(
      PLANES.map(
        async (plane) => new HttpTransport({ ...config, server: (await row(plane, "kube-apiserver"))!.address }, { timeout: 15_000 }),
      ),
    );
    const target = { group: "", version: "v1", resource: "services", namespace: "default" };
    const spec = { type: "NodePort", ports: [{ port: 80 }] };
    const made = await Promise.all(
      Array.from({ length: 150 }, (_, i) =>
        apis[i % 3]!.create<core.Service>(target, {
          apiVersion: "v1",
          kind: "Service",
          metadata: { name: `many-${i}`, labels: { many: "" } },
          spec,
        }),
      ),
    );
    expect(new Set(made.map((s) => s.spec!.ports![0]!.nodePort)).size).toBe(150);
    expect(new Set(made.map((s) => s.spec!.clusterIP)).size).toBe(150);
    for (const each of apis) each.close();
    await api.deleteCollection(target, { labelSelector: "many" });
  }, 60_000);

  test("the endpoints of kubernetes are the apiservers that run", async () => {
    const endpoints = async () =>
      (await cluster.kubectl(["get", "endpointslice", "kubernetes", "-o", "jsonpath={.endpoints[*].addresses[0]}"])).trim().split(" ");
    const all = (await status()).filter((r) => r.name === "kube-apiserver").map((r) => new URL(r.address).hostname);
    await until("all of them", async () => Bun.deepEquals(await endpoints(), all));
    const frozen = (await row(PLANES[2]!, "etcd"))!;
    process.kill(frozen.pid, "SIGSTOP");
    try {
      await until("the frozen one's lease to run out", async () => Bun.deepEquals(await endpoints(), all.slice(0, 2)), 60_000);
    } finally {
      process.kill(frozen.pid, "SIGCONT");
    }
    await until("all of them again", async () => Bun.deepEquals(await endpoints(), all), 60_000);
    await well();
  }, 180_000);

  test("kill -9 of the plane that leads the store loses no acknowledged write, and it comes back", async () => {
    const writer = new Writer(api, "killed");
    await writer.progress(50);
    const plane = await storeLeader();
    const pid = await kill(plane);
    await writer.progress(50);
    expect(await cluster.kubectl(["get", "nodes"])).toContain(" Ready ");
    await rejoined(plane, pid);
    await writer.progress(20);
    await writer.check();
    await well();
  }, 180_000);

  test("kubectl works while any one is away", async () => {
    for (const plane of PLANES) {
      const { pid } = (await row(plane, "etcd"))!;
      process.kill(pid, "SIGSTOP");
      try {
        await until(
          `a write without ${plane}`,
          async () => (await cluster.tryKubectl(["create", "configmap", `without-${plane}`], { timeout: 20_000 })).code === 0,
          60_000,
        );
        expect(await cluster.kubectl(["get", "configmap", `without-${plane}`, "-o", "name"])).toContain(plane);
      } finally {
        process.kill(pid, "SIGCONT");
      }
      await well();
    }
  }, 300_000);

  test("controllers and the scheduler go on in another plane when theirs is killed", async () => {
    const manager = await until("a leader", () => leads("kube-controller-manager"));
    const pid = await kill(manager.node);
    const scheduler = await until("a scheduler", () => leads("kube-scheduler"), 60_000);
    await cluster.kubectl(["scale", "deployment/hello", "--replicas=4"]);
    await cluster.kubectl(["rollout", "status", "deployment/hello", "--timeout=90s"]);
    expect((await until("a controller manager", () => leads("kube-controller-manager"))).pid).not.toBe(pid);
    expect(scheduler.pid).not.toBe(pid);
    await well();
  }, 180_000);

  test("a plane that is cut off from the others is done without, and is one of them again afterwards", async () => {
    const plane = await storeLeader();
    const link = `kn${200 + PLANES.indexOf(plane)}-${cluster.state.id}`;
    const writer = new Writer(api, "cut");
    await writer.progress(20);
    await ok(["ip", "link", "set", link, "nomaster"]);
    try {
      await writer.progress(50);
      await until(`${plane} to be told as unwell`, async () => (await status()).some((r) => r.node === plane && !r.healthy));
      expect(await cluster.kubectl(["get", "nodes"])).toContain(" Ready ");
    } finally {
      await ok(["ip", "link", "set", link, "master", `kn-${cluster.state.id}`]);
    }
    await well();
    await writer.progress(20);
    await writer.check();
  }, 180_000);

  test("kill -9 of the balancer cuts connections for a moment, and the address is the same", async () => {
    const { pid } = (await status()).find((r) => r.name === "balancer")!;
    const writer = new Writer(api, "balanced");
    await writer.progress(20);
    process.kill(pid, "SIGKILL");
    await until("another balancer", async () => (await status()).some((r) => r.name === "balancer" && r.healthy && r.pid !== pid));
    await writer.progress(20);
    await writer.check();
    await well();
  }, 120_000);

  test("kill -9 of the process of up is noticed by no client, and it is there again", async () => {
    const { pid } = cluster.state;
    const before = (await status()).filter((r) => r.pid !== pid);
    const writer = new Writer(api, "headless");
    await writer.progress(20);
    process.kill(pid, "SIGKILL");
    await until("another process of up", () => cluster.state.pid !== undefined && cluster.state.pid !== pid, 60_000);
    await well();
    await writer.progress(20);
    await writer.check();
    expect(writer.failures).toEqual([]);
    const after = (await status()).filter((r) => r.pid !== cluster.state.pid);
    expect(after.map((r) => r.pid)).toEqual(before.map((r) => r.pid));
    expect(await cluster.kubectl(["get", "configmap", "without-control-plane-1", "-o", "name"])).toContain("without");
    expect(await until("the page", page)).toMatch(/^Hello from hello-/);
  }, 120_000);

  test("down leaves the machine as it was, and up, with another node, has what was stored", async () => {
    const { id } = cluster.state;
    expect(left(id)).not.toEqual([]);
    const r = await kubun(["down", `--data-dir=${cluster.dataDir}`], { timeout: 60_000 });
    expect(r, r.stderr).toMatchObject({ code: 0 });
    expect(left(id)).toEqual([]);
    const other = await kubun(["up", "--detach", ...cluster.flags, "--control-planes=1"]);
    expect(other.stderr).toContain("holds a cluster of 3");
    expect(other.code).toBe(2);
    cluster.flags.push("--nodes=2");
    await cluster.start();
    expect(await cluster.kubectl(["get", "configmap", "without-control-plane-3", "-o", "name"])).toContain("without");
    await until("two nodes", async () => (await cluster.kubectl(["get", "nodes"])).match(/ Ready /g)?.length === 2);
    // A node that has become ready keeps its taint for a moment, and gets no pods until it is gone.
    const taints = ["get", "nodes", "-o", "jsonpath={.items[*].spec.taints}"];
    await until("pods to be taken by both", async () => (await cluster.kubectl(taints)).trim() === "");
    await cluster.kubectl(["rollout", "restart", "deployment/hello"]);
    await cluster.kubectl(["rollout", "status", "deployment/hello", "--timeout=120s"]);
    // While a rollout goes on, old pods weigh too; of new ones, each goes where fewer are.
    await cluster.kubectl(["scale", "deployment/hello", "--replicas=8"]);
    await cluster.kubectl(["rollout", "status", "deployment/hello", "--timeout=120s"]);
    expect(await until("the page", page)).toMatch(/^Hello from hello-/);
    const places = await cluster.kubectl(["get", "pods", "-l", "app=hello", "-o", "jsonpath={.items[*].spec.nodeName}"]);
    expect(new Set(places.trim().split(" ")).size).toBe(2);
  }, 240_000);

  test("down --purge leaves nothing", async () => {
    const { id } = cluster.state;
    const r = await kubun(["down", "--purge", `--data-dir=${cluster.dataDir}`], { timeout: 60_000 });
    expect(r, r.stderr).toMatchObject({ code: 0 });
    expect(left(id)).toEqual([]);
  }, 90_000);
});

describe.skipIf(missing !== undefined)("one control plane that becomes three, and then five", () => {
  test("has what it had, in a store of three, of which any two go on, and of five, of which any three do", async () => {
    await using cluster = await TestCluster.up();
    await cluster.kubectl(["apply", "-f", join(root, "examples/hello")]);
    await cluster.kubectl(["rollout", "status", "deployment/hello", "--timeout=60s"]);
    const three = ["up", "--detach", ...cluster.flags, "--control-planes=3"];
    const running = await kubun(three);
    expect(running.stderr).toContain("runs with 1: 'kubun down' first, then up");
    expect(running.code).toBe(2);
    await kubun(["down", `--data-dir=${cluster.dataDir}`], { timeout: 60_000 });
    cluster.flags.push("--control-planes=3");
    await cluster.start();
    await cluster.kubectl(["rollout", "status", "deployment/hello", "--timeout=120s"]);
    const components = async () =>
      (JSON.parse((await kubun(["status", `--data-dir=${cluster.dataDir}`, "-o", "json"])).stdout) as { components: Row[] }).components;
    const members = (await components()).filter((r) => r.name === "etcd");
    expect(members.map((r) => r.node)).toEqual(PLANES);
    const pki = (file: string) => join(cluster.dataDir, "pki/etcd", file);
    const list = await ok(
      [
        ...["etcdctl", `--endpoints=${members[2]!.address}`, `--cacert=${pki("ca.crt")}`, `--cert=${pki("client.crt")}`],
        ...[`--key=${pki("client.key")}`, "member", "list"],
      ],
      { env: { ETCDCTL_API: "3" } },
    );
    // Its name, where it is, and that it has a vote.
    for (const plane of PLANES) expect(list).toMatch(new RegExp(`started, ${plane}, https://\\S+:2380, https://\\S+:2379, false`));
    // The one that had it all alone.
    process.kill(members[0]!.pid, "SIGKILL");
    await until("a write without it", async () => (await cluster.tryKubectl(["create", "configmap", "without"])).code === 0, 60_000);
    await until("it again", async () => (await components()).every((r) => r.healthy), 60_000);
    expect(await cluster.kubectl(["get", "configmap", "without", "-o", "name"])).toContain("without");

    await kubun(["down", `--data-dir=${cluster.dataDir}`], { timeout: 60_000 });
    cluster.flags.push("--control-planes=5");
    await cluster.start();
    const five = (await components()).filter((r) => r.name === "etcd");
    expect(five).toHaveLength(5);
    await until("all five to be well", async () => (await components()).every((r) => r.healthy), 60_000);
    // Both that came first: the others have all that they had.
    for (const { pid } of five.slice(0, 2)) process.kill(pid, "SIGSTOP");
    try {
      const created = async () => (await cluster.tryKubectl(["create", "configmap", "without-two"], { timeout: 20_000 })).code === 0;
      await until("a write without two", created, 60_000);
      expect(await cluster.kubectl(["get", "configmap", "without", "-o", "name"])).toContain("without");
    } finally {
      for (const { pid } of five.slice(0, 2)) process.kill(pid, "SIGCONT");
    }
    await until("all five again", async () => (await components()).every((r) => r.healthy), 60_000);
  }, 240_000);
});
