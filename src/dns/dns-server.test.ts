import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { endpointSlices, namespaces, services } from "../client/resources.ts";
import { MemoryApi } from "../testing/memory-api.ts";
import { freePort } from "../testing/ports.ts";
import { DnsServer } from "./mod.ts";
import { ask, data, FakeUpstream, service, slice } from "./testing.ts";

const dig = Bun.which("dig");
if (!dig) console.log("tests with dig are skipped: it is missing");

const http = { name: "http", port: 80, protocol: "TCP" as const };
const a = (name: string, ip: string, ttl = 60) => ({ type: "A" as const, name, ttl, data: ip });
const soa = (minimum: number) => ({
  type: "SOA" as const,
  name: "test",
  ttl: 60,
  data: { mname: "ns.test", rname: "root.test", serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
});

/** Asks until the answer is as expected, or 20 s are over; then the last answer fails the test. */
async function eventually(look: () => Promise<unknown>, expected: unknown): Promise<void> {
  const end = performance.now() + 20_000;
  while (!Bun.deepEquals(await look(), expected) && performance.now() < end) await Bun.sleep(5);
  expect(await look()).toEqual(expected);
}

describe("DnsServer", () => {
  let api: MemoryApi;
  let upstream: FakeUpstream;
  let server: DnsServer;
  let port: number;
  const inDefault = { namespace: "default" };

  beforeAll(async () => {
    api = new MemoryApi();
    upstream = await FakeUpstream.start();
    for (const name of ["default", "kube-system"]) await api.create(namespaces, { metadata: { name } });
    const create = async (...objects: ReturnType<typeof service>[]) => {
      for (const o of objects) await api.create({ ...services, namespace: o.metadata.namespace }, o);
    };
    await create(
      service("web", { clusterIP: "10.96.0.10", ports: [http, { name: "dns", port: 53, protocol: "UDP" }] }),
      service("db", { clusterIP: "None", ports: [{ name: "sql", port: 5432, protocol: "TCP" }] }),
      service("idle", { clusterIP: "None", ports: [http] }),
      service("far", { type: "ExternalName", externalName: "www.test." }),
      service("near", { type: "ExternalName", externalName: "web.default.svc.cluster.local" }),
      service("kube-dns", { clusterIP: "10.96.0.2", ports: [{ name: "dns", port: 53, protocol: "UDP" }] }, "kube-system"),
      service("big", { clusterIP: "None", ports: [http] }),
    );
    const sql = [{ name: "sql", port: 5432, protocol: "TCP" as const }];
    await api.create({ ...endpointSlices, ...inDefault }, slice("web", [{ ip: "10.244.0.5" }], [{ ...http, port: 8080 }]));
    await api.create(
      { ...endpointSlices, ...inDefault },
      slice("db", [{ ip: "10.244.0.7", hostname: "db-0" }, { ip: "10.244.0.8" }, { ip: "10.244.0.9", ready: false }], sql),
    );
    const many = Array.from({ length: 60 }, (_, i) => ({ ip: `10.244.1.${i}` }));
    await api.create({ ...endpointSlices, ...inDefault }, slice("big", many, [http]));
    server = new DnsServer({
      transport: api,
      domain: "cluster.local",
      listen: [{ host: "127.0.0.1", port: 0 }],
      upstreams: [{ host: "127.0.0.1", port: upstream.port }],
      // As long as a busy machine may take. Who waits for one that is away waits for twice as long.
      upstreamTimeout: 800,
    });
    await server.start();
    port = Number(new URL(server.address).port);
  });
  afterAll(async () => {
    await server?.stop();
    upstream?.stop();
  });

  test("answers for services by address, port and reverse name", async () => {
    expect(data(await ask(port, "web.default.svc.cluster.local", "A"))).toEqual(["10.96.0.10"]);
    expect(data(await ask(port, "_http._tcp.web.default.svc.cluster.local", "SRV"))).toEqual(["0 100 80 web.default.svc.cluster.local"]);
    const srv = await ask(port, "web.default.svc.cluster.local", "SRV");
    expect(data(srv).length).toBe(2);
    expect(srv.additionals?.map((r) => `${r.name} ${(r as { data?: unknown }).data}`)).toEqual([
      "web.default.svc.cluster.local 10.96.0.10",
    ]);
    expect(data(await ask(port, "10.0.96.10.in-addr.arpa", "PTR"))).toEqual(["web.default.svc.cluster.local"]);
  });

  test("answers for headless services by endpoint, and only for those that are ready", async () => {
    expect(data(await ask(port, "db.default.svc.cluster.local", "A")).sort()).toEqual(["10.244.0.7", "10.244.0.8"]);
    expect(data(await ask(port, "db-0.db.default.svc.cluster.local", "A"))).toEqual(["10.244.0.7"]);
    expect(data(await ask(port, "10-244-0-8.db.default.svc.cluster.local", "A"))).toEqual(["10.244.0.8"]);
    expect(data(await ask(port, "_sql._tcp.db.default.svc.cluster.local", "SRV"))).toEqual([
      "0 50 5432 db-0.db.default.svc.cluster.local",
      "0 50 5432 10-244-0-8.db.default.svc.cluster.local",
    ]);
    expect(data(await ask(port, "7.0.244.10.in-addr.arpa", "PTR"))).toEqual(["db-0.db.default.svc.cluster.local"]);
    expect((await ask(port, "idle.default.svc.cluster.local", "A")).rcode).toBe("NXDOMAIN");
  });

  test("gives several addresses in turn", async () => {
    const firsts = new Set<string>();
    for (let i = 0; i < 4; i++) firsts.add(data(await ask(port, "db.default.svc.cluster.local", "A"))[0]!);
    expect(firsts.size).toBe(2);
  });

  test("answers for pods by address, in namespaces that are there", async () => {
    expect(data(await ask(port, "10-244-0-5.default.pod.cluster.local", "A"))).toEqual(["10.244.0.5"]);
    expect((await ask(port, "10-244-0-5.nowhere.pod.cluster.local", "A")).rcode).toBe("NXDOMAIN");
    expect((await ask(port, "nonsense.default.pod.cluster.local", "A")).rcode).toBe("NXDOMAIN");
  });

  test("tells a name that is not there from one without such a record, both with the SOA", async () => {
    const no = async (name: string, type: "A" | "AAAA" | "TXT") => {
      const m = await ask(port, name, type);
      return [m.rcode, data(m).length, m.authorities?.[0]?.type, m.flag_aa];
    };
    expect(await no("nope.default.svc.cluster.local", "A")).toEqual(["NXDOMAIN", 0, "SOA", true]);
    expect(await no("web.default.svc.cluster.local", "AAAA")).toEqual(["NOERROR", 0, "SOA", true]);
    expect(await no("web.default.svc.cluster.local.default.svc.cluster.local", "A")).toEqual(["NXDOMAIN", 0, "SOA", true]);
    for (const name of ["svc.cluster.local", "default.svc.cluster.local", "_tcp.web.default.svc.cluster.local"])
      expect(await no(name, "A")).toEqual(["NOERROR", 0, "SOA", true]);
    expect(await no("nowhere.svc.cluster.local", "A")).toEqual(["NXDOMAIN", 0, "SOA", true]);
  });

  test("tells the version of the specification, its own name and the zone's", async () => {
    expect(data(await ask(port, "dns-version.cluster.local", "TXT"))).toEqual(["1.1.0"]);
    expect(data(await ask(port, "cluster.local", "NS"))).toEqual(["ns.dns.cluster.local"]);
    expect(data(await ask(port, "ns.dns.cluster.local", "A"))).toEqual(["10.96.0.2"]);
    expect((await ask(port, "cluster.local", "SOA")).answers?.[0]?.type).toBe("SOA");
  });

  test("keeps the case of the question, the id and the flags", async () => {
    const m = await ask(port, "WeB.dEfAult.SVC.cluster.LOCAL", "A");
    expect([m.id, m.questions?.[0]?.name, m.answers?.[0]?.name, data(m)[0]]).toEqual([
      4711,
      "WeB.dEfAult.SVC.cluster.LOCAL",
      "WeB.dEfAult.SVC.cluster.LOCAL",
      "10.96.0.10",
    ]);
  });

  test("follows an ExternalName out of the cluster and within it", async () => {
    upstream.answers.set("www.test A", {
      answers: [{ type: "CNAME", name: "www.test", ttl: 60, data: "host.test" }, a("host.test", "192.0.2.7")],
    });
    expect(data(await ask(port, "far.default.svc.cluster.local", "A"))).toEqual(["www.test", "host.test", "192.0.2.7"]);
    expect(data(await ask(port, "far.default.svc.cluster.local", "CNAME"))).toEqual(["www.test"]);
    expect(data(await ask(port, "near.default.svc.cluster.local", "A"))).toEqual(["web.default.svc.cluster.local", "10.96.0.10"]);
  });

  test("sees services and endpoints come and go", async () => {
    expect((await ask(port, "new.default.svc.cluster.local", "A")).rcode).toBe("NXDOMAIN");
    await api.create({ ...services, ...inDefault }, service("new", { clusterIP: "10.96.0.99", ports: [http] }));
    await eventually(async () => data(await ask(port, "new.default.svc.cluster.local", "A")), ["10.96.0.99"]);
    await api.delete({ ...services, ...inDefault, name: "new" });
    await eventually(async () => (await ask(port, "new.default.svc.cluster.local", "A")).rcode, "NXDOMAIN");
    expect((await ask(port, "99.0.96.10.in-addr.arpa", "PTR")).rcode).toBe("NXDOMAIN");
  });

  test("cuts long answers for UDP, by what the client can receive, and gives all over TCP", async () => {
    const plain = await ask(port, "big.default.svc.cluster.local", "A");
    expect([plain.flag_tc, data(plain).length]).toEqual([true, 29]);
    const edns = await ask(port, "big.default.svc.cluster.local", "A", { edns: 4096 });
    expect([edns.flag_tc, data(edns).length]).toEqual([false, 60]);
  });

  test("passes other names on, asks once for the same name at a time, and keeps the answer", async () => {
    upstream.answers.set("once.test A", { answers: [a("once.test", "192.0.2.1")] });
    const before = upstream.asked.length;
    const all = await Promise.all(Array.from({ length: 5 }, () => ask(port, "once.test", "A")));
    expect(all.map((m) => data(m)[0])).toEqual(Array(5).fill("192.0.2.1"));
    expect(data(await ask(port, "ONCE.test", "A", { edns: 1232 }))).toEqual(["192.0.2.1"]);
    expect(upstream.asked.slice(before)).toEqual(["udp once.test A"]);
  });

  test("keeps that a name is not there for as long as the SOA says", async () => {
    const asked = (name: string) => upstream.asked.filter((a) => a === `udp ${name} A`).length;
    upstream.answers.set("none.test A", { rcode: "NXDOMAIN", authorities: [soa(60)] });
    for (let i = 0; i < 3; i++) expect((await ask(port, "none.test", "A")).rcode).toBe("NXDOMAIN");
    expect(asked("none.test")).toBe(1);
    upstream.answers.set("soon.test A", { rcode: "NXDOMAIN", authorities: [soa(1)] });
    const began = performance.now();
    await eventually(async () => [(await ask(port, "soon.test", "A")).rcode, asked("soon.test")], ["NXDOMAIN", 2]);
    // The clock that it goes by may tick otherwise than ours.
    expect(performance.now() - began).toBeGreaterThan(990);
  });

  test("asks again over TCP when the answer was cut", async () => {
    const many = Array.from({ length: 100 }, (_, i) => a("long.test", `192.0.2.${i}`));
    upstream.answers.set("long.test A", { answers: many, truncate: true });
    expect((await ask(port, "long.test", "A", { edns: 1232 })).flag_tc).toBe(true);
    expect(data(await ask(port, "long.test", "A", { edns: 4096 })).length).toBe(100);
    expect(upstream.asked).toContain("tcp long.test A");
  });

  test("answers from cache while the resolver is away, also past the answer's end, and says SERVFAIL for what it never knew", async () => {
    upstream.answers.set("kept.test A", { answers: [a("kept.test", "192.0.2.9", 1)] });
    expect(data(await ask(port, "kept.test", "A"))).toEqual(["192.0.2.9"]);
    upstream.silent = true;
    try {
      const gone = Date.now() + 1001;
      while (Date.now() < gone) await Bun.sleep(20);
      const stale = await ask(port, "kept.test", "A");
      expect(data(stale)).toEqual(["192.0.2.9"]);
      expect((stale.answers![0] as { ttl: number }).ttl).toBe(30);
      expect((await ask(port, "never.test", "A")).rcode).toBe("SERVFAIL");
      // It is known to be away by now: no waiting, which would take 1600 ms, for an answer that is there.
      const began = performance.now();
      expect(data(await ask(port, "kept.test", "A"))).toEqual(["192.0.2.9"]);
      expect(performance.now() - began).toBeLessThan(1500);
    } finally {
      upstream.silent = false;
    }
    upstream.answers.set("kept.test A", { answers: [a("kept.test", "192.0.2.10", 1)] });
    await eventually(async () => data(await ask(port, "kept.test", "A")), ["192.0.2.10"]);
  }, 30_000);

  test("refuses what it does not serve and survives any bytes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 0, maxLength: 80 }), async (bytes) => {
        const socket = await Bun.udpSocket({ connect: { hostname: "127.0.0.1", port } });
        socket.send(bytes);
        socket.close();
        // The server's turn: what waits for it has room for some hundred datagrams.
        await new Promise((resolve) => setImmediate(resolve));
      }),
      { numRuns: 200 },
    );
    expect(data(await ask(port, "web.default.svc.cluster.local", "A"))).toEqual(["10.96.0.10"]);
    const chaos = Uint8Array.of(
      0x12,
      0x67,
      1,
      0,
      0,
      1,
      0,
      0,
      0,
      0,
      0,
      0,
      7,
      118,
      101,
      114,
      115,
      105,
      111,
      110,
      4,
      98,
      105,
      110,
      100,
      0,
      0,
      16,
      0,
      3,
    );
    expect((await ask(port, "", "TXT", { raw: chaos })).rcode).toBe("REFUSED");
    const update = Uint8Array.of(0x12, 0x67, 0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1);
    expect((await ask(port, "", "SOA", { raw: update })).rcode).toBe("NOTIMP");
  });

  test.skipIf(!dig)("is understood by dig: EDNS, cookies, TCP, 0x20 and several questions on one connection", async () => {
    const run = async (...args: string[]) => {
      const child = Bun.spawn([dig!, "@127.0.0.1", "-p", String(port), "+tries=1", "+time=20", ...args], { stdout: "pipe" });
      return (await new Response(child.stdout).text()).trim();
    };
    expect(await run("+short", "web.default.svc.cluster.local")).toBe("10.96.0.10");
    expect(await run("+short", "+tcp", "-x", "10.96.0.10")).toBe("web.default.svc.cluster.local.");
    expect((await run("+short", "big.default.svc.cluster.local")).split("\n").length).toBe(60);
    const full = await run("+dnssec", "SRV", "_sql._tcp.db.default.svc.cluster.local");
    expect(full).toContain("flags: qr aa rd ra; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 3");
    expect(full).not.toMatch(/WARNING(?!: .local is reserved)/);
    expect(await run("+keepopen", "+tcp", "+short", "web.default.svc.cluster.local", "dns-version.cluster.local", "TXT")).toBe(
      '10.96.0.10\n"1.1.0"',
    );
    expect(await run("+edns=1", "+noednsneg", "web.default.svc.cluster.local")).toContain("status: BADVERS");
  });

  test("names the address that it can't have", async () => {
    const second = new DnsServer({ transport: api, domain: "cluster.local", listen: [{ host: "127.0.0.1", port }], upstreams: [] });
    const error = await second.start().then(
      () => undefined,
      (e: Error) => e,
    );
    await second.stop();
    expect(String(error)).toContain(String(port));
  });

  test("counts under CoreDNS' names", () => {
    const text = server.metrics.text();
    for (const name of [
      "coredns_dns_requests_total",
      "coredns_dns_responses_total",
      "coredns_cache_hits_total",
      "coredns_cache_served_stale_total",
    ])
      expect(text).toContain(`\n${name}{`);
  });
});

describe("resolvers", () => {
  const serve = async (options: Partial<ConstructorParameters<typeof DnsServer>[0]>) => {
    const server = new DnsServer({
      transport: new MemoryApi(),
      domain: "cluster.local",
      listen: [{ host: "127.0.0.1", port: 0 }],
      upstreamTimeout: 800,
      ...options,
    });
    await server.start();
    return { server, port: Number(new URL(server.address).port), [Symbol.asyncDispose]: () => server.stop() };
  };

  test("go to the next when one does not answer, fails or refuses", async () => {
    const [silent, failing, good] = await Promise.all([FakeUpstream.start(), FakeUpstream.start(), FakeUpstream.start()]);
    try {
      silent.silent = true;
      failing.answers.set("x.test A", { rcode: "SERVFAIL" });
      good.answers.set("x.test A", { answers: [a("x.test", "192.0.2.1")] });
      await using s = await serve({ upstreams: [silent, failing, good].map((u) => ({ host: "127.0.0.1", port: u.port })) });
      expect(data(await ask(s.port, "x.test", "A"))).toEqual(["192.0.2.1"]);
    } finally {
      for (const u of [silent, failing, good]) u.stop();
    }
  });

  test("that ask this very server are found and left out", async () => {
    const port = freePort();
    await using s = await serve({ listen: [{ host: "127.0.0.1", port }], upstreams: [{ host: "127.0.0.1", port }] });
    const began = performance.now();
    expect((await ask(s.port, "x.test", "A")).rcode).toBe("SERVFAIL");
    expect((await ask(s.port, "y.test", "A")).rcode).toBe("SERVFAIL");
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  test("come from resolv.conf; without any, other names fail at once", async () => {
    const folder = mkdtempSync(join(tmpdir(), "kubun-dns-"));
    try {
      writeFileSync(join(folder, "resolv.conf"), "# nothing\nsearch example.com\noptions ndots:5\n");
      await using s = await serve({ resolvConf: join(folder, "resolv.conf") });
      expect((await ask(s.port, "x.test", "A")).rcode).toBe("SERVFAIL");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
