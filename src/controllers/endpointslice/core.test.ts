import { expect, test } from "bun:test";
import fc from "fast-check";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type * as discoveryV1 from "../../api/gen/discovery/v1.ts";
import { reconcileEndpoints } from "../endpoints/core.ts";
import type { Write } from "../framework/write.ts";
import { reconcileSlices } from "./core.ts";

type Slice = discoveryV1.EndpointSlice;

const service = (spec: Partial<coreV1.ServiceSpec> = {}): coreV1.Service => ({
  metadata: { name: "web", namespace: "default", uid: "s", labels: { team: "a" } },
  spec: {
    clusterIP: "10.96.0.9",
    selector: { app: "web" },
    ports: [{ name: "http", port: 80, targetPort: "web", protocol: "TCP" }],
    ...spec,
  },
});

interface PodOptions {
  ready?: boolean;
  terminating?: boolean;
  ip?: string;
  phase?: coreV1.PodPhase;
  port?: number;
  hostname?: string;
}

const pod = (name: string, o: PodOptions = {}): coreV1.Pod => ({
  metadata: { name, namespace: "default", uid: name, ...(o.terminating ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}) },
  spec: {
    nodeName: "node-1",
    containers: [{ name: "c", ports: [{ name: "web", containerPort: o.port ?? 8080, protocol: "TCP" }] }],
    ...(o.hostname ? { hostname: o.hostname, subdomain: "web" } : {}),
  },
  status: {
    phase: o.phase ?? "Running",
    ...(o.ip === "" ? {} : { podIP: o.ip ?? `10.0.0.${name}`, podIPs: [{ ip: o.ip ?? `10.0.0.${name}` }] }),
    conditions: [{ type: "Ready", status: o.ready === false ? "False" : "True" }],
  },
});

const node = (): coreV1.Node => ({ metadata: { name: "node-1", labels: { "topology.kubernetes.io/zone": "z1" } }, spec: {} });

/** What the apiserver holds after the writes. */
function applied(slices: readonly Slice[], writes: readonly Write[], counter = { n: 0 }): Slice[] {
  const next = new Map(slices.map((s) => [s.metadata.name!, s]));
  for (const w of writes) {
    if (w.op === "create") {
      const name = `web-${counter.n++}`;
      next.set(name, { ...(w.object as Slice), metadata: { ...w.object.metadata, name } });
    } else if (w.op === "update") next.set(w.object.metadata.name!, w.object as Slice);
    else if (w.op === "delete") next.delete(w.on.metadata.name!);
  }
  return [...next.values()];
}

const sliceOf = (w: Write | undefined) => (w as unknown as { object: Slice }).object;
const endpointsOf = (s: Slice) => s.endpoints ?? [];

const reconcile = (s: coreV1.Service, pods: coreV1.Pod[], slices: Slice[] = [], limit = 100) =>
  reconcileSlices({ service: s, pods, slices, node, limit });

test("a slice says of each pod whether it is ready, serving and terminating", () => {
  const pods = [
    pod("1"),
    pod("2", { ready: false }),
    pod("3", { terminating: true }),
    pod("4", { terminating: true, ready: false }),
    pod("5", { phase: "Succeeded" }),
    pod("6", { ip: "" }),
  ];
  const [write, ...more] = reconcile(service(), pods);
  expect(more).toEqual([]);
  expect(write).toMatchObject({ op: "create" });
  const slice = sliceOf(write);
  expect(slice.metadata).toMatchObject({
    generateName: "web-",
    namespace: "default",
    labels: {
      team: "a",
      "kubernetes.io/service-name": "web",
      "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    },
    ownerReferences: [{ apiVersion: "v1", kind: "Service", name: "web", uid: "s", controller: true, blockOwnerDeletion: true }],
  });
  expect(slice.addressType).toBe("IPv4");
  expect(slice.ports).toEqual([{ name: "http", protocol: "TCP", port: 8080 }]);
  expect(endpointsOf(slice).map((e) => [e.addresses[0], e.conditions, e.nodeName, e.zone, e.targetRef?.name])).toEqual([
    ["10.0.0.1", { ready: true, serving: true, terminating: false }, "node-1", "z1", "1"],
    ["10.0.0.2", { ready: false, serving: false, terminating: false }, "node-1", "z1", "2"],
    ["10.0.0.3", { ready: false, serving: true, terminating: true }, "node-1", "z1", "3"],
    ["10.0.0.4", { ready: false, serving: false, terminating: true }, "node-1", "z1", "4"],
  ]);
});

test("publishNotReadyAddresses makes every endpoint ready", () => {
  const [write] = reconcile(service({ publishNotReadyAddresses: true }), [pod("1", { ready: false })]);
  expect(endpointsOf(sliceOf(write))[0]!.conditions).toEqual({ ready: true, serving: false, terminating: false });
});

test("a headless Service is labelled so, and its pods have their hostnames", () => {
  const [write] = reconcile(service({ clusterIP: "None" }), [pod("1", { hostname: "db-0" })]);
  const slice = sliceOf(write);
  expect(slice.metadata.labels).toHaveProperty(["service.kubernetes.io/headless"], "");
  expect(endpointsOf(slice)[0]!.hostname).toBe("db-0");
});

test("pods whose named port is another number are in a slice of their own", () => {
  const writes = reconcile(service(), [pod("1"), pod("2", { port: 9090 }), pod("3")]);
  expect(writes.map((w) => sliceOf(w).ports?.[0]?.port)).toEqual([8080, 9090]);
});

test("a Service without pods keeps one empty slice, which the first pod turns into a real one", () => {
  let slices = applied([], reconcile(service(), []));
  expect(slices).toMatchObject([{ endpoints: [], ports: [] }]);
  expect(reconcile(service(), [], slices)).toEqual([]);
  // As the apiserver stores it.
  slices = slices.map((x) => ({ ...x, endpoints: null, ports: null }) as unknown as Slice);
  expect(reconcile(service(), [], slices)).toEqual([]);
  const writes = reconcile(service(), [pod("1")], slices);
  expect(writes.map((w) => w.op)).toEqual(["update"]);
  slices = applied(slices, writes);
  expect(slices.length).toBe(1);
  expect(reconcile(service(), [pod("1")], slices)).toEqual([]);
});

test("both families of a dual-stack Service have slices, and a family it loses has none", () => {
  const dual = pod("1");
  dual.status!.podIPs = [{ ip: "10.0.0.1" }, { ip: "fd00::1" }];
  let slices = applied([], reconcile(service({ ipFamilies: ["IPv4", "IPv6"] }), [dual]));
  expect(slices.map((s) => [s.addressType, endpointsOf(s)[0]!.addresses[0]])).toEqual([
    ["IPv4", "10.0.0.1"],
    ["IPv6", "fd00::1"],
  ]);
  slices = applied(slices, reconcile(service({ ipFamilies: ["IPv4"] }), [dual], slices));
  expect(slices.map((s) => s.addressType)).toEqual(["IPv4"]);
});

test("250 pods fill three slices, and one that goes is one write", () => {
  const many = Array.from({ length: 250 }, (_, i) => pod(String(i), { ip: `10.0.${i >> 8}.${i & 255}` }));
  const slices = applied([], reconcile(service(), many));
  expect(slices.map((s) => endpointsOf(s).length)).toEqual([100, 100, 50]);
  expect(reconcile(service(), many, slices)).toEqual([]);
  expect(reconcile(service(), many.slice(1), slices).map((w) => w.op)).toEqual(["update"]);
});

test("whatever the pods do, slices hold each of them once, none is over its limit, and a second look writes nothing", () => {
  const pods = fc.uniqueArray(fc.record({ n: fc.nat(30), ready: fc.boolean(), port: fc.constantFrom(8080, 9090) }), {
    selector: (p) => p.n,
  });
  fc.assert(
    fc.property(fc.array(pods, { minLength: 1, maxLength: 6 }), fc.integer({ min: 1, max: 5 }), (states, limit) => {
      let slices: Slice[] = [];
      const counter = { n: 0 };
      for (const state of states) {
        const now = state.map((p) => pod(String(p.n), { ready: p.ready, port: p.port }));
        slices = applied(slices, reconcile(service(), now, slices, limit), counter);
        const names = slices.flatMap((s) => endpointsOf(s).map((e) => `${e.targetRef!.name} ${e.conditions!.ready} ${s.ports?.[0]?.port}`));
        expect(names.sort()).toEqual(state.map((p) => `${p.n} ${p.ready} ${p.port}`).sort());
        for (const s of slices) expect(endpointsOf(s).length).toBeLessThanOrEqual(limit);
        expect(slices.length).toBeGreaterThanOrEqual(1);
        expect(reconcile(service(), now, slices, limit)).toEqual([]);
      }
    }),
  );
});

test("classic Endpoints hold ready and other addresses apart, and say nothing of terminating pods", () => {
  const pods = [pod("2"), pod("1"), pod("3", { ready: false }), pod("4", { terminating: true })];
  const write = reconcileEndpoints(service(), pods, undefined);
  const made = (write as { object: coreV1.Endpoints }).object;
  expect(made.metadata).toMatchObject({ name: "web", labels: { team: "a", "endpoints.kubernetes.io/managed-by": "endpoint-controller" } });
  expect(made.subsets).toMatchObject([
    {
      addresses: [{ ip: "10.0.0.1", nodeName: "node-1", targetRef: { kind: "Pod", name: "1" } }, { ip: "10.0.0.2" }],
      notReadyAddresses: [{ ip: "10.0.0.3" }],
      ports: [{ name: "http", port: 8080, protocol: "TCP" }],
    },
  ]);
  expect(reconcileEndpoints(service(), pods.reverse(), made)).toBeUndefined();
  const empty = reconcileEndpoints(service(), [], made) as { op: string; object: coreV1.Endpoints };
  expect([empty.op, empty.object.subsets]).toEqual(["update", []]);
});

test("more than a thousand addresses are cut off, with a note", () => {
  const many = Array.from({ length: 1100 }, (_, i) => pod(String(i), { ip: `10.0.${i >> 8}.${i & 255}`, ready: i < 500 }));
  const made = (reconcileEndpoints(service(), many, undefined) as { object: coreV1.Endpoints }).object;
  expect(made.metadata.annotations).toEqual({ "endpoints.kubernetes.io/over-capacity": "truncated" });
  expect(made.subsets!.map((s) => [s.addresses?.length, s.notReadyAddresses?.length])).toEqual([[500, 500]]);
});
