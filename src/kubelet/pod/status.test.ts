import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { container, exited, makePod, runtimePod, sandbox, verdicts } from "../testing/pods.ts";
import type { WaitReason } from "./container-status.ts";
import type { RuntimePod } from "./runtime-pod.ts";
import { podStatus, type StatusInput } from "./status.ts";

const now = Date.UTC(2026, 0, 2);
const input = (overrides: Partial<StatusInput> = {}): StatusInput => ({
  runtimeName: "containerd",
  reasons: new Map<string, WaitReason>(),
  started: () => true,
  ready: () => true,
  verdicts: verdicts(),
  now,
  hostIPs: ["192.0.2.1"],
  terminal: false,
  ...overrides,
});
const up = [sandbox()];
const two: Partial<coreV1.PodSpec> = {
  containers: [
    { name: "a", image: "img:1" },
    { name: "b", image: "img:1" },
  ],
};

function phase(spec: Partial<coreV1.PodSpec>, rt: RuntimePod, overrides?: Partial<StatusInput>): string | undefined {
  return podStatus(makePod(spec), rt, input(overrides)).phase;
}

describe("the phase", () => {
  const cases: [title: string, spec: Partial<coreV1.PodSpec>, rt: RuntimePod, expected: string, terminal?: boolean][] = [
    ["is Pending before a container runs", two, runtimePod([], []), "Pending"],
    ["is Pending until every container runs", two, runtimePod(up, [container("a")]), "Pending"],
    ["is Running when all run", two, runtimePod(up, [container("a"), container("b")]), "Running"],
    ["is Running while one runs and one has ended", two, runtimePod(up, [container("a"), exited("b", 1)]), "Running"],
    ["is Running while all are to be restarted", two, runtimePod(up, [exited("a", 1), exited("b", 0)]), "Running"],
    [
      "is Succeeded when all ended well and none restarts",
      { ...two, restartPolicy: "Never" },
      runtimePod(up, [exited("a", 0), exited("b", 0)]),
      "Succeeded",
    ],
    [
      "is Failed when one failed and none restarts",
      { ...two, restartPolicy: "Never" },
      runtimePod(up, [exited("a", 0), exited("b", 3)]),
      "Failed",
    ],
    [
      "is Running when OnFailure restarts one",
      { ...two, restartPolicy: "OnFailure" },
      runtimePod(up, [exited("a", 0), exited("b", 3)]),
      "Running",
    ],
    ["is Pending while an init container runs", { initContainers: [{ name: "i" }] }, runtimePod(up, [container("i")]), "Pending"],
    [
      "is Failed when an init container fails for good",
      { initContainers: [{ name: "i" }], restartPolicy: "Never" },
      runtimePod(up, [exited("i", 1)]),
      "Failed",
    ],
    [
      "is Succeeded at the end of a pod whose containers ended well",
      two,
      runtimePod([], [exited("a", 0), exited("b", 0)]),
      "Succeeded",
      true,
    ],
    ["is Failed at the end of a pod that never ran", two, runtimePod([], []), "Failed", true],
  ];
  for (const [title, spec, rt, expected, terminal] of cases)
    test(title, () => expect(phase(spec, rt, { terminal })).toBe(expected as never));

  test("never leaves Succeeded or Failed", () => {
    const pod = { ...makePod(), status: { phase: "Succeeded" as const } };
    expect(podStatus(pod, runtimePod(up, [container("a")]), input()).phase).toBe("Succeeded");
  });
});

describe("conditions", () => {
  const conditions = (status: coreV1.PodStatus) =>
    Object.fromEntries(
      (status.conditions ?? []).map((c) => [c.type, [c.status, c.reason, c.message].filter((x) => x !== undefined).join(": ")]),
    );

  test("are all True for a pod that runs and is ready", () => {
    expect(conditions(podStatus(makePod(), runtimePod(up, [container("a")]), input()))).toEqual({
      PodReadyToStartContainers: "True",
      Initialized: "True",
      Ready: "True",
      ContainersReady: "True",
      PodScheduled: "True",
    });
  });

  test("name the containers that are not ready", () => {
    const got = conditions(
      podStatus(makePod(two), runtimePod(up, [container("a"), container("b")]), input({ ready: (id) => id === "a-0" })),
    );
    expect(got.Ready).toBe("False: ContainersNotReady: containers with unready status: [b]");
    expect(got.ContainersReady).toBe(got.Ready!);
  });

  test("name the init containers that are not done", () => {
    const got = conditions(podStatus(makePod({ initContainers: [{ name: "i" }] }), runtimePod(up, [container("i")]), input()));
    expect(got.Initialized).toBe("False: ContainersNotInitialized: containers with incomplete status: [i]");
  });

  test("wait for readiness gates of others", () => {
    const pod = makePod({ readinessGates: [{ conditionType: "example.com/gate" }] });
    const rt = runtimePod(up, [container("a")]);
    expect(conditions(podStatus(pod, rt, input())).Ready).toBe(
      'False: ReadinessGatesNotReady: corresponding condition of pod readiness gate "example.com/gate" does not exist.',
    );
    const passed = { ...pod, status: { conditions: [{ type: "example.com/gate", status: "True" }] } };
    expect(conditions(podStatus(passed, rt, input())).Ready).toBe("True");
  });

  test("keep the time of their last change, and what others wrote", () => {
    const pod = makePod();
    const first = podStatus(pod, runtimePod(up, [container("a")]), input());
    const foreign = { type: "DisruptionTarget", status: "True" };
    const later = podStatus(
      { ...pod, status: { ...first, conditions: [...first.conditions!, foreign] } },
      runtimePod(up, [exited("a", 1)]),
      input({ now: now + 5000 }),
    );
    const time = (s: coreV1.PodStatus, type: string) => s.conditions!.find((c) => c.type === type)!.lastTransitionTime;
    expect(time(later, "Initialized")).toBe("2026-01-02T00:00:00Z");
    expect(time(later, "Ready")).toBe("2026-01-02T00:00:05Z");
    expect(later.conditions).toContainEqual(foreign);
  });
});

describe("container statuses", () => {
  const first = (pod: coreV1.Pod, rt: RuntimePod, overrides?: Partial<StatusInput>) =>
    podStatus(pod, rt, input(overrides)).containerStatuses![0]!;

  test("wait as ContainerCreating, or as PodInitializing behind init containers", () => {
    expect(first(makePod(), runtimePod([], [])).state).toEqual({ waiting: { reason: "ContainerCreating" } });
    expect(first(makePod({ initContainers: [{ name: "i" }] }), runtimePod([], [])).state).toEqual({
      waiting: { reason: "PodInitializing" },
    });
  });

  test("show how the last one ended and how often it was restarted", () => {
    const rt = runtimePod(up, [container("a", { id: "a-1", restartCount: 1 }), exited("a", 137, { reason: "OOMKilled" })]);
    const status = first(makePod(), rt);
    expect(status.restartCount).toBe(1);
    expect(status.lastState?.terminated).toMatchObject({ exitCode: 137, reason: "OOMKilled", containerID: "containerd://a-0" });
    expect(status.state?.running?.startedAt).toBe("1970-01-01T00:00:02Z");
  });

  test("in a crash loop wait, with the end as the last state", () => {
    const reasons = new Map([["a", { reason: "CrashLoopBackOff", message: "back-off 10s" }]]);
    const status = first(makePod(), runtimePod(up, [exited("a", 1)]), { reasons });
    expect(status.state).toEqual({ waiting: { reason: "CrashLoopBackOff", message: "back-off 10s" } });
    expect(status.lastState?.terminated?.exitCode).toBe(1);
    expect(status.ready).toBe(false);
  });

  test("of an image that can't be pulled say why", () => {
    const reasons = new Map([["a", { reason: "ImagePullBackOff", message: "Back-off pulling image" }]]);
    expect(first(makePod(), runtimePod(up, []), { reasons }).state).toEqual({
      waiting: { reason: "ImagePullBackOff", message: "Back-off pulling image" },
    });
  });

  test("that ended well say Completed, others Error", () => {
    expect(first(makePod(), runtimePod(up, [exited("a", 0)])).state?.terminated?.reason).toBe("Completed");
    expect(first(makePod(), runtimePod(up, [exited("a", 2)])).state?.terminated?.reason).toBe("Error");
  });

  test("are ready only once started", () => {
    const status = first(makePod(), runtimePod(up, [container("a")]), { started: () => false });
    expect([status.started, status.ready]).toEqual([false, false]);
  });

  test("of a pod that ended say nothing of restarts", () => {
    const reasons = new Map([["a", { reason: "CrashLoopBackOff", message: "" }]]);
    expect(first(makePod(), runtimePod(up, [exited("a", 1)]), { reasons, terminal: true }).state?.terminated?.exitCode).toBe(1);
  });

  test("outlive their container in the runtime", () => {
    const before = podStatus(makePod({ restartPolicy: "Never" }), runtimePod(up, [exited("a", 3)]), input());
    const after = first({ ...makePod({ restartPolicy: "Never" }), status: before }, runtimePod([], []));
    expect(after.state?.terminated?.exitCode).toBe(3);
  });
});

test("addresses are the sandbox's, or the node's on its network", () => {
  const own = podStatus(makePod(), runtimePod(up, [container("a")]), input());
  expect([own.podIP, own.hostIP]).toEqual(["10.0.0.2", "192.0.2.1"]);
  const host = podStatus(makePod({ hostNetwork: true }), runtimePod([sandbox({ ips: [], hostNetwork: true })], []), input());
  expect(host.podIPs).toEqual([{ ip: "192.0.2.1" }]);
});

test("a pod that the kubelet ends is Failed with the reason", () => {
  const status = podStatus(
    makePod(),
    runtimePod(up, [container("a")]),
    input({ ended: { reason: "DeadlineExceeded", message: "too long" } }),
  );
  expect(status).toMatchObject({ phase: "Failed", reason: "DeadlineExceeded", message: "too long" });
});

test("the status of a status is itself, whatever the runtime holds", () => {
  const state = fc.constantFrom("created", "running", "exited", "unknown") as fc.Arbitrary<"created" | "running" | "exited" | "unknown">;
  const anyContainer = fc.record({ name: fc.constantFrom("a", "b", "i"), state, exitCode: fc.constantFrom(0, 1), restartCount: fc.nat(3) });
  fc.assert(
    fc.property(
      fc.array(anyContainer, { maxLength: 5 }),
      fc.boolean(),
      fc.constantFrom("Always", "OnFailure", "Never") as fc.Arbitrary<coreV1.RestartPolicy>,
      (containers, ready, restartPolicy) => {
        const rt = runtimePod(
          [sandbox({ ready })],
          containers.map((c, i) => container(c.name, { ...c, id: `${c.name}-${i}`, finishedAt: c.state === "exited" ? 3000 : 0 })),
        );
        const pod = makePod({ ...two, initContainers: [{ name: "i" }], restartPolicy });
        const once = podStatus(pod, rt, input());
        const twice = podStatus({ ...pod, status: once }, rt, input({ now: now + 60_000 }));
        expect(twice).toEqual(once);
      },
    ),
  );
});
