import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Maglev } from "./maglev.ts";
import { intervals, servicePiece } from "./rules.ts";
import { servicePorts } from "./service-ports.ts";
import { Table } from "./table.ts";
import { service, slice } from "./testing.ts";

const maglev = new Maglev();
const options = { name: "t", podCidrs: ["10.244.0.0/16"], serviceCidrs: ["10.96.0.0/12"], localhostNodePorts: true };
const context = { podCidrs: options.podCidrs, maglev };

/** As much of nftables as the scripts use: it refuses what the kernel would refuse. */
class FakeNft {
  chains = new Map<string, string[]>();
  sets = new Map<string, string>();
  elements = new Map<string, string>();

  apply(script: string): void {
    for (const line of script.trimEnd().split("\n")) this.#line(line);
    for (const [name, rules] of this.chains)
      for (const rule of rules)
        for (const [, target] of rule.matchAll(/(?:goto|jump) ([^\s,}]+)/g))
          if (!this.chains.has(target!)) throw new Error(`${name} refers to ${target}, which is not there`);
    for (const [id, value] of this.elements) {
      const target = /goto (\S+)/.exec(value)?.[1];
      if (target && !this.chains.has(target)) throw new Error(`${id} refers to ${target}, which is not there`);
    }
  }

  #line(line: string): void {
    const [verb, what, , , name = "", ...rest] = line.split(" ");
    const text = rest.join(" ");
    if (what === "table") {
      if (verb === "delete") Object.assign(this, { chains: new Map(), sets: new Map(), elements: new Map() });
    } else if (what === "chain") {
      if (verb === "add") this.chains.set(name, this.chains.get(name) ?? []);
      else if (!this.chains.has(name)) throw new Error(`no chain ${name}`);
      else if (verb === "flush") this.chains.set(name, []);
      else this.chains.delete(name);
    } else if (what === "rule") {
      const chain = this.chains.get(name);
      if (!chain) throw new Error(`no chain ${name}`);
      const set = / @(affinity-\S+)/.exec(text)?.[1];
      if (set && !this.sets.has(set)) throw new Error(`no set ${set}`);
      chain.push(text);
    } else if (what === "set" || what === "map") {
      if (verb === "add") this.sets.set(name, text);
      else {
        if ([...this.chains.values()].flat().some((r) => r.includes(`@${name} `))) throw new Error(`set ${name} is in use`);
        if (!this.sets.delete(name)) throw new Error(`no set ${name}`);
      }
    } else if (what === "element") {
      const [key, value = ""] = text.slice(2, -2).split(" : ");
      if (verb === "delete") {
        if (!this.elements.delete(`${name} ${key}`)) throw new Error(`no element ${key}`);
      } else if (this.elements.has(`${name} ${key}`)) throw new Error(`element ${key} exists`);
      else this.elements.set(`${name} ${key}`, value);
    } else throw new Error(`what is ${line}`);
  }

  get state() {
    const sorted = <V>(m: Map<string, V>) => [...m].sort(([a], [b]) => (a < b ? -1 : 1));
    return { chains: sorted(this.chains), sets: sorted(this.sets), elements: sorted(this.elements) };
  }
}

const change = fc.record({
  name: fc.constantFrom("a", "b", "c"),
  gone: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
  nodePort: fc.constantFrom(0, 0, 30000, 30001),
  external: fc.boolean(),
  affinity: fc.constantFrom(undefined, 10, 20),
  externalLocal: fc.boolean(),
  internalLocal: fc.boolean(),
  endpoints: fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { maxLength: 5 }),
  remote: fc.integer({ min: 1, max: 6 }),
});

type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

function piece(c: Change) {
  if (c.gone) return undefined;
  const policy = (local: boolean) => (local ? "Local" : "Cluster") as "Local" | "Cluster";
  const s = service(c.name, {
    clusterIP: `10.96.0.${c.name.charCodeAt(0)}`,
    ports: [{ name: "p", port: 80, protocol: "TCP", ...(c.nodePort ? { nodePort: c.nodePort + c.name.charCodeAt(0) } : {}) }],
    ...(c.external ? { externalIPs: ["192.0.2.1"] } : {}),
    ...(c.affinity ? { sessionAffinity: "ClientIP", sessionAffinityConfig: { clientIP: { timeoutSeconds: c.affinity } } } : {}),
    externalTrafficPolicy: policy(c.externalLocal),
    internalTrafficPolicy: policy(c.internalLocal),
  });
  const backends = c.endpoints.map((n) => ({ ip: `10.244.0.${n}`, node: n >= c.remote ? "n2" : "n1" }));
  return servicePiece(servicePorts(s, [slice(c.name, backends, [{ name: "p", port: 8080, protocol: "TCP" }])], "n1"), context);
}

describe("Table", () => {
  test("comes by its batches to the same as by making all anew, and never asks for what the kernel refuses", () => {
    fc.assert(
      fc.property(fc.array(fc.array(change, { maxLength: 3 }), { minLength: 1, maxLength: 8 }), (batches) => {
        const table = new Table(options);
        const kernel = new FakeNft();
        const last = new Map<string, Change>();
        for (const batch of batches) {
          for (const c of batch) {
            table.set(c.name, piece(c));
            last.set(c.name, c);
          }
          const script = table.script();
          if (!script) continue;
          kernel.apply(script.text);
          script.commit();
        }
        const fresh = new Table(options);
        const expected = new FakeNft();
        for (const [name, c] of last) fresh.set(name, piece(c));
        expected.apply(fresh.script()!.text);
        expect(kernel.state).toEqual(expected.state);
      }),
      { numRuns: 300 },
    );
  });

  test("has nothing to do when nothing changed, and little when one endpoint did", () => {
    const base: Change = {
      name: "a",
      gone: false,
      nodePort: 0,
      external: false,
      affinity: undefined,
      externalLocal: false,
      internalLocal: false,
      endpoints: [1, 2],
      remote: 9,
    };
    const table = new Table(options);
    for (const name of ["a", "b", "c"] as const) table.set(name, piece({ ...base, name }));
    table.script()!.commit();
    table.set("a", piece(base));
    expect(table.script()).toBeUndefined();
    table.set("a", piece({ ...base, endpoints: [1, 2, 3] }));
    const lines = table.script()!.text.trimEnd().split("\n");
    expect(lines.map((l) => l.split(" ").slice(0, 2).join(" "))).toEqual([
      "flush chain",
      "add chain",
      "add rule",
      "add rule",
      "add rule",
      "add rule",
    ]);
  });

  test("makes all anew after a failure", () => {
    const table = new Table(options);
    table.script()!.commit();
    table.distrust();
    expect(table.script()!.text).toStartWith("add table ip t\ndelete table ip t\nadd table ip t\n");
  });

  test("joins neighbouring slots of a table to intervals", () => {
    expect(intervals(Int32Array.of(0, 0, 1, 0, 1, 1, 1), (b) => `e${b}`)).toBe("0-1 : goto e0, 2 : goto e1, 3 : goto e0, 4-6 : goto e1");
  });
});

describe("servicePorts", () => {
  const ports = [{ name: "p", port: 80, protocol: "TCP" as const }];
  const slices = (...b: Parameters<typeof slice>[1]) => [slice("s", b, [{ name: "p", port: 8080, protocol: "TCP" }])];

  test("passes over headless services, external names and those of another proxy", () => {
    expect(servicePorts(service("s", { clusterIP: "None", ports }), [], "n1")).toEqual([]);
    expect(servicePorts(service("s", { type: "ExternalName", externalName: "example.com", clusterIP: "" }), [], "n1")).toEqual([]);
    const other = service("s", { clusterIP: "10.96.0.1", ports });
    other.metadata.labels = { "service.kubernetes.io/service-proxy-name": "cilium" };
    expect(servicePorts(other, [], "n1")).toEqual([]);
  });

  test("takes ready endpoints, else those that serve while they terminate, never those that do neither", () => {
    const s = service("s", { clusterIP: "10.96.0.1", ports });
    const of = (...b: Parameters<typeof slice>[1]) => servicePorts(s, slices(...b), "n1")[0]!.cluster.map((e) => e.ip);
    const ending = { ready: false, serving: true, terminating: true };
    expect(of({ ip: "10.0.0.1" }, { ip: "10.0.0.2", ...ending })).toEqual(["10.0.0.1"]);
    expect(of({ ip: "10.0.0.2", ...ending }, { ip: "10.0.0.3", ready: false, serving: false })).toEqual(["10.0.0.2"]);
    expect(of({ ip: "10.0.0.3", ready: false, serving: false })).toEqual([]);
  });
});
