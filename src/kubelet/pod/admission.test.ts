import { describe, expect, test } from "bun:test";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { makePod } from "../testing/pods.ts";
import { type Room, refusal, requested } from "./admission.ts";

const room: Room = { pods: 3, cpu: "2", memory: "1Gi", "ephemeral-storage": "10Gi" };
const asks = (requests: Record<string, string>, more: Partial<coreV1.PodSpec> = {}) =>
  makePod({ containers: [{ name: "a", image: "img:1", resources: { requests } }], ...more });
const opens = (port: coreV1.ContainerPort, more: Partial<coreV1.PodSpec> = {}) =>
  makePod({ containers: [{ name: "a", image: "img:1", ports: [port] }], ...more });

describe("a pod is refused", () => {
  const cases: [title: string, pod: coreV1.Pod, others: coreV1.Pod[], reason: string | undefined, message?: string][] = [
    ["never on an empty node that has room", asks({ cpu: "2", memory: "1Gi" }), [], undefined],
    [
      "where the node is full of pods",
      makePod(),
      [makePod(), makePod(), makePod()],
      "OutOfpods",
      "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3",
    ],
    [
      "where processors are taken",
      asks({ cpu: "600m" }),
      [asks({ cpu: "1" }), asks({ cpu: "500m" })],
      "OutOfcpu",
      "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000",
    ],
    [
      "where memory is taken",
      asks({ memory: "2Gi" }),
      [],
      "OutOfmemory",
      "Node didn't have enough resource: memory, requested: 2147483648, used: 0, capacity: 1073741824",
    ],
    ["where storage is taken", asks({ "ephemeral-storage": "11Gi" }), [], "OutOfephemeral-storage"],
    ["but not for what the node lacks and it does not ask for", makePod(), [asks({ cpu: "5" })], undefined],
    [
      "where another has its host port",
      opens({ containerPort: 80, hostPort: 80 }),
      [opens({ containerPort: 1, hostPort: 80 })],
      "NodePorts",
      "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
    ],
    [
      "but not for a host port of another protocol",
      opens({ containerPort: 80, hostPort: 80 }),
      [opens({ containerPort: 80, hostPort: 80, protocol: "UDP" })],
      undefined,
    ],
    [
      "but not for one of another address",
      opens({ containerPort: 80, hostPort: 80, hostIP: "127.0.0.1" }),
      [opens({ containerPort: 80, hostPort: 80, hostIP: "127.0.0.2" })],
      undefined,
    ],
    [
      "where it would listen on all addresses and another has one",
      opens({ containerPort: 80 }, { hostNetwork: true }),
      [opens({ containerPort: 80, hostPort: 80, hostIP: "127.0.0.2" })],
      "NodePorts",
    ],
  ];
  for (const [title, pod, others, reason, message] of cases)
    test(title, () => {
      const answer = refusal(pod, others, room);
      expect(answer?.reason).toBe(reason);
      if (message) expect(answer?.message).toBe(message);
    });
});

test("a pod asks for its largest moment, its sidecars and its overhead", () => {
  const c = (n: number, more: Partial<coreV1.Container> = {}) => ({ name: `c${n}`, resources: { requests: { cpu: String(n) } }, ...more });
  const spec = makePod({
    containers: [c(1), c(2)],
    initContainers: [c(1, { restartPolicy: "Always" }), c(5)],
    overhead: { cpu: "1" },
  }).spec;
  expect(requested(spec, "cpu", Number)).toBe(7);
  expect(requested({ ...spec, initContainers: spec.initContainers!.slice(0, 1) }, "cpu", Number)).toBe(5);
  expect(requested({ ...spec, resources: { requests: { cpu: "9" } } }, "cpu", Number)).toBe(10);
});
