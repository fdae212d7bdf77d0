import { expect, test } from "bun:test";
import type * as core from "../../api/gen/core/v1.ts";
import { PortBitmap } from "./port-bitmap.ts";
import { needsPlan, nodePortsOf, PortRefused, planPorts } from "./port-plan.ts";

const range = { from: 30_000, to: 30_031 };
const low = () => 0;
const taken = (...ports: number[]) => {
  const bitmap = new PortBitmap(range);
  for (const port of ports) bitmap.set(port);
  return bitmap;
};
const port = (port: number, nodePort?: number, protocol = "TCP") => ({ port, protocol, ...(nodePort ? { nodePort } : {}) });
const spec = (fields: object) => fields as core.ServiceSpec;

test("ports that are asked for come before those that are picked", () => {
  const bitmap = taken();
  // The first free one would be 30016.
  const plan = planPorts(spec({ type: "NodePort", ports: [port(80), port(443, 30_016)] }), undefined, bitmap, low);
  expect(plan).toEqual({ ports: [30_017, 30_016], health: undefined });
  expect([...bitmap.ports()]).toEqual([30_016, 30_017]);
});

test("TCP and UDP of one port share a number, which no other service may have", () => {
  const bitmap = taken();
  const dns = spec({ type: "NodePort", ports: [port(53, undefined, "UDP"), port(53), port(9153)] });
  expect(planPorts(dns, undefined, bitmap, low).ports).toEqual([30_016, 30_016, 30_017]);
  const other = spec({ type: "NodePort", ports: [port(1), port(53, 30_016, "UDP")] });
  expect(() => planPorts(other, undefined, bitmap, low)).toThrow(
    expect.objectContaining({
      name: "AllocationError",
      field: "spec.ports[1].nodePort",
      port: 30_016,
      message: "provided port is already allocated",
    }),
  );
});

test("what a service has stays its own, in another protocol too, and needs nothing taken", () => {
  const before = spec({ type: "NodePort", ports: [port(80, 30_005)] });
  expect(needsPlan(before, before)).toBe(false);
  const next = spec({ type: "NodePort", ports: [port(80, 30_005), port(80, 30_005, "UDP"), port(81)] });
  expect(needsPlan(next, before)).toBe(true);
  const bitmap = taken(30_005);
  expect(planPorts(next, before, bitmap, low).ports).toEqual([30_005, 30_005, 30_016]);
});

test("a load balancer without node ports takes those alone that it asks for, and its health check's", () => {
  const balancer = spec({ type: "LoadBalancer", allocateLoadBalancerNodePorts: false, ports: [port(80), port(81, 30_001)] });
  expect(planPorts(balancer, undefined, taken(), low)).toEqual({ ports: [undefined, 30_001], health: undefined });
  const local = spec({ type: "LoadBalancer", externalTrafficPolicy: "Local", ports: [port(80)], healthCheckNodePort: 30_002 });
  expect(planPorts(local, undefined, taken(), low)).toEqual({ ports: [30_016], health: 30_002 });
  expect(() => planPorts(local, undefined, taken(30_002), low)).toThrow(PortRefused);
  expect(needsPlan(spec({ ...local, ports: [port(80, 30_016)] }), spec({ ...local, ports: [port(80, 30_016)] }))).toBe(false);
  expect(nodePortsOf(spec({ ...local, ports: [port(80, 30_016)] }))).toEqual(new Set([30_016, 30_002]));
});
