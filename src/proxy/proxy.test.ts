import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type * as coreV1 from "../api/gen/core/v1.ts";
import { endpointSlices, services } from "../client/resources.ts";
import { MemoryApi } from "../testing/memory-api.ts";
import { cleanup, Proxy as KubeProxy } from "./mod.ts";
import { type Backend, lacking, service, sh, slice, TestNode } from "./testing.ts";

const why = lacking("ip", "nft", "curl", "conntrack");
if (why) console.log(`tests of the proxy in the kernel are skipped: ${why}`);

const http: coreV1.ServicePort = { name: "http", port: 80, targetPort: 8080, protocol: "TCP" } as coreV1.ServicePort;
const udp: coreV1.ServicePort = { name: "echo", port: 53, targetPort: 8080, protocol: "UDP" } as coreV1.ServicePort;
const ports = [
  { name: "http", port: 8080, protocol: "TCP" as const },
  { name: "echo", port: 8080, protocol: "UDP" as const },
];

describe.skipIf(why !== undefined)("Proxy in the kernel", () => {
  const tableName = "kubun-proxy-test";
  let node: TestNode;
  let api: MemoryApi;
  let proxy: InstanceType<typeof KubeProxy>;
  const inDefault = { namespace: "default" };

  const put = async (s: coreV1.Service, backends: Backend[]) => {
    await api.create({ ...services, ...inDefault }, s);
    await api.create({ ...endpointSlices, ...inDefault }, slice(s.metadata.name!, backends, ports));
    await settled();
  };
  const move = async (name: string, backends: Backend[]) => {
    await api.update({ ...endpointSlices, ...inDefault, name: `${name}-1` }, slice(name, backends, ports));
    await settled();
  };
  const sentinel = service("sentinel", { clusterIP: "None" });
  let touches = 0;
  /**
   * Waits until all that was changed is in the kernel, conntrack's entries included. A change of a service without rules
   * makes a sync: the first that ends may have begun before it, the second began with all of the changes, and the third
   * begins when all of the second is done.
   */
  const settled = async () => {
    const syncs = () => Number(/^kubeproxy_sync_proxy_rules_duration_seconds_count (\S+)$/m.exec(proxy.metrics.text())?.[1] ?? 0);
    const end = performance.now() + 30_000;
    while (!api.drained) await Bun.sleep(1);
    for (let i = 0; i < 3; i++) {
      const before = syncs();
      const annotations = { touches: String(touches++) };
      await api.update({ ...services, ...inDefault, name: "sentinel" }, { ...sentinel, metadata: { ...sentinel.metadata, annotations } });
      while (syncs() === before) {
        if (performance.now() > end) throw new Error(`the proxy does not settle: ${proxy.notReady()}`);
        await Bun.sleep(1);
      }
    }
  };
  const pod = (i: number, more: Partial<Backend> = {}): Backend => ({ ip: node.podIP(i), ...more });
  const names = async (n: number, ask: () => Promise<string>) =>
    (await Promise.all(Array.from({ length: n }, ask))).map((t) => t.split(" ")[0]!);
  /**
   * Who answers, until `expected` all have, of at most 300 connections: their ports are chance, so that one of three
   * pods is missed by 20 connections every thousandth time, and by 300 never.
   */
  const spread = async (expected: string[], ask: () => Promise<string>) => {
    const seen = new Set<string>();
    for (let i = 0; i < 30 && !expected.every((name) => seen.has(name)); i++) for (const name of await names(10, ask)) seen.add(name);
    return [...seen].sort();
  };
  const ruleset = () => sh(...node.prefix("node"), "nft", "list", "table", "ip", tableName);

  beforeAll(async () => {
    node = await TestNode.make(4);
    await Promise.all([0, 1, 2].map((i) => node.serve(i, 8080, `pod${i}`)));
    api = new MemoryApi();
    await api.create({ ...services, ...inDefault }, sentinel);
    proxy = new KubeProxy({
      transport: api,
      nodeName: "n1",
      tableName,
      podCidrs: [node.podCidr],
      setSysctl: (key, value) => node.sysctl(key, value),
      commandPrefix: node.prefix("node"),
      minSyncPeriod: 20,
    });
    await proxy.start();
  }, 60_000);
  afterAll(async () => {
    await proxy?.stop();
    await node?.[Symbol.asyncDispose]();
  });

  test("spreads connections to a ClusterIP over all endpoints, TCP and UDP, from pods and from the node", async () => {
    await put(service("web", { clusterIP: "10.96.0.10", ports: [http, udp] }), [pod(0), pod(1), pod(2)]);
    const all = ["pod0", "pod1", "pod2"];
    expect(await spread(all, () => node.get(3, "10.96.0.10"))).toEqual(all);
    expect(await spread(all, () => node.get("node", "10.96.0.10"))).toEqual(all);
    expect(await spread(all, () => node.ask(3, "10.96.0.10", 53))).toEqual(all);
  }, 60_000);

  test("keeps a pod's address towards another pod, and masquerades a pod that reaches itself and clients from elsewhere", async () => {
    await put(service("one", { clusterIP: "10.96.0.11", ports: [http] }), [pod(0)]);
    expect(await node.get(3, "10.96.0.11")).toBe(`pod0 ${node.podIP(3)}`);
    expect(await node.get(0, "10.96.0.11")).toBe("pod0 10.99.0.1");
    expect(await node.get("outside", "10.96.0.11")).toBe("pod0 10.99.0.1");
  });

  test("serves a NodePort on every address of the node, also from itself over localhost", async () => {
    await put(
      service("np", {
        type: "NodePort",
        clusterIP: "10.96.0.12",
        ports: [
          { ...http, nodePort: 30080 },
          { ...udp, nodePort: 30053 },
        ],
      }),
      [pod(1)],
    );
    for (const address of [node.ip, "10.99.0.1"]) expect(await node.get("outside", `${address}:30080`)).toBe("pod1 10.99.0.1");
    for (const address of [node.ip, "127.0.0.1", "localhost"]) expect(await node.get("node", `${address}:30080`)).toStartWith("pod1");
    expect(await node.get(3, `${node.ip}:30080`)).toStartWith("pod1");
    expect(await node.ask("outside", node.ip, 30053)).toStartWith("pod1");
  });

  test("lets nobody from outside reach what listens on loopback", async () => {
    await node.serve("node", 9999, "secret");
    const code = `
      const s = await Bun.udpSocket({ socket: { data(_, d) { console.log(d.toString()); process.exit(0); } } });
      s.send("?", 9999, "127.0.0.2"); setTimeout(() => { console.log("no answer"); process.exit(0); }, 500);`;
    // What an attacker on the next machine would do to have loopback's addresses routed.
    const attack = [
      "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet",
      "ip route del local 127.0.0.0/8 dev lo table local",
      "ip route del local 127.0.0.1 dev lo table local",
      `ip route add 127.0.0.2/32 via ${node.ip} dev eth0`,
    ];
    await node.in("outside", "sh", "-ec", attack.join("; "));
    const dropped = async () => (await node.in("node", "nft", "list", "chain", "ip", tableName, "loopback-guard")).includes("drop");
    expect(await dropped()).toBe(true);
    expect((await node.in("outside", process.execPath, "-e", code)).trim()).toBe("no answer");
  });

  test("refuses connections to a service without endpoints, and to ports that a ClusterIP does not have", async () => {
    await put(service("empty", { type: "NodePort", clusterIP: "10.96.0.13", ports: [{ ...http, nodePort: 30081 }] }), []);
    for (const [from, address] of [
      [3, "10.96.0.13"],
      ["node", "10.96.0.13"],
      ["outside", `${node.ip}:30081`],
      [3, "10.96.0.10:81"],
    ] as const)
      expect(await node.get(from, address).catch((e: Error) => e.message)).toMatch(/refused|Could ?n.t connect|Failed to connect/);
    await move("empty", [pod(2)]);
    expect(await node.get(3, "10.96.0.13")).toStartWith("pod2");
    expect(await node.get("outside", `${node.ip}:30081`)).toStartWith("pod2");
  });

  test("keeps a client at its endpoint with session affinity, while endpoints come", async () => {
    const affinity = { sessionAffinity: "ClientIP", sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } } } as const;
    await put(service("sticky", { ...affinity, clusterIP: "10.96.0.14", ports: [http] }), [pod(0)]);
    expect(await names(5, () => node.get(3, "10.96.0.14"))).toEqual(Array(5).fill("pod0"));
    await move("sticky", [pod(0), pod(1), pod(2)]);
    expect(await names(10, () => node.get(3, "10.96.0.14"))).toEqual(Array(10).fill("pod0"));
    await move("sticky", [pod(1), pod(2)]);
    // The first alone: of several at once each may find that there is none yet that it should keep to.
    const next = await names(1, () => node.get(3, "10.96.0.14"));
    expect(new Set([...next, ...(await names(10, () => node.get(3, "10.96.0.14")))])).toEqual(new Set(next));
  });

  test("keeps the client's address with externalTrafficPolicy Local, and drops where no endpoint is local", async () => {
    const spec = { type: "NodePort", externalTrafficPolicy: "Local" } as const;
    await put(service("local", { ...spec, clusterIP: "10.96.0.15", ports: [{ ...http, nodePort: 30082 }] }), [
      pod(0),
      { ...pod(1), node: "n2" },
    ]);
    expect(new Set(await Promise.all(Array.from({ length: 10 }, () => node.get("outside", `${node.ip}:30082`))))).toEqual(
      new Set(["pod0 10.98.0.2"]),
    );
    await move("local", [{ ...pod(1), node: "n2" }]);
    expect(await node.get("outside", `${node.ip}:30082`, 2).catch((e: Error) => e.message)).toMatch(/timed out/i);
    expect(await node.get(3, `${node.ip}:30082`)).toStartWith("pod1");
  });

  test("keeps traffic on the node with internalTrafficPolicy Local", async () => {
    await put(service("inner", { clusterIP: "10.96.0.16", internalTrafficPolicy: "Local", ports: [http] }), [
      pod(0),
      { ...pod(1), node: "n2" },
    ]);
    expect(new Set(await names(10, () => node.get(3, "10.96.0.16")))).toEqual(new Set(["pod0"]));
  });

  test("serves external addresses", async () => {
    await put(service("ext", { clusterIP: "10.96.0.17", externalIPs: ["10.98.0.77"], ports: [http] }), [pod(2)]);
    await sh("ip", "-n", node.space("outside"), "route", "add", "10.98.0.77/32", "via", node.ip);
    expect(await node.get("outside", "10.98.0.77")).toStartWith("pod2");
  });

  test("falls back to endpoints that serve while they terminate", async () => {
    const last = { ready: false, serving: true, terminating: true };
    await put(service("ending", { clusterIP: "10.96.0.18", ports: [http] }), [pod(0, last), pod(1)]);
    expect(new Set(await names(10, () => node.get(3, "10.96.0.18")))).toEqual(new Set(["pod1"]));
    await move("ending", [pod(0, last)]);
    expect(await node.get(3, "10.96.0.18")).toStartWith("pod0");
  });

  test("sends a UDP client that keeps its port to a new endpoint when the old one is gone", async () => {
    await put(service("dns", { clusterIP: "10.96.0.19", ports: [udp] }), [pod(0)]);
    expect(await node.ask(3, "10.96.0.19", 53, { from: 5555 })).toStartWith("pod0");
    await move("dns", [pod(1)]);
    expect(await node.ask(3, "10.96.0.19", 53, { from: 5555 })).toStartWith("pod1");
  });

  test("masquerades what pods send out of the pod network", async () => {
    const code = `Bun.serve({ port: 7000, hostname: "0.0.0.0", fetch: (r, s) => new Response(s.requestIP(r).address) }); console.log("up")`;
    const server = Bun.spawn([...node.prefix("outside"), process.execPath, "-e", code], { stdout: "pipe" });
    try {
      await server.stdout.getReader().read();
      expect(await node.get(3, "10.98.0.2:7000")).toBe(node.ip);
    } finally {
      server.kill("SIGKILL");
      await server.exited;
    }
  });

  test("finds that the table was changed or deleted, and makes it anew", async () => {
    await proxy.resync();
    await node.in("node", "nft", "flush", "chain", "ip", tableName, "services");
    await proxy.resync();
    expect(await node.get(3, "10.96.0.11")).toStartWith("pod0");
    await node.in("node", "nft", "delete", "table", "ip", tableName);
    await proxy.resync();
    expect(await node.get(3, "10.96.0.11")).toStartWith("pod0");
    expect(proxy.notReady()).toBeUndefined();
  });

  test("leaves nothing of a service that is deleted", async () => {
    // What clients keep to is forgotten with time, whoever goes.
    const lines = async () => (await sh(...node.prefix("node"), "nft", "--terse", "list", "table", "ip", tableName)).split("\n").length;
    const before = await lines();
    const sticky = { sessionAffinity: "ClientIP" } as const;
    await put(service("brief", { ...sticky, type: "NodePort", clusterIP: "10.96.0.20", ports: [{ ...http, nodePort: 30090 }] }), [
      pod(0),
      pod(1),
    ]);
    expect(await ruleset()).toContain("10.96.0.20");
    await api.delete({ ...services, ...inDefault, name: "brief" });
    await settled();
    expect((await ruleset()).includes("brief")).toBe(false);
    expect(await lines()).toBe(before);
  });

  test("is in the kernel soon after an EndpointSlice changed, without another event", async () => {
    await move("one", [pod(0)]);
    const deadline = performance.now() + 30_000;
    await api.update({ ...endpointSlices, ...inDefault, name: "one-1" }, slice("one", [pod(1)], ports));
    while (!(await ruleset()).includes("default/one/tcp/http__10.99.0.3")) expect(performance.now()).toBeLessThan(deadline);
  });

  test("cleanup removes the table, and does nothing the second time", async () => {
    await proxy.stop();
    await cleanup(tableName, node.prefix("node"));
    await cleanup(tableName, node.prefix("node"));
    expect(await node.in("node", "nft", "list", "ruleset")).toBe("");
  });
});
