// What a kubelet does on a runtime, whichever that is.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { eventually, TestNode, type TestRuntime } from "./node.ts";
import { containerTests } from "./suite/containers.ts";
import { lifecycleTests } from "./suite/lifecycle.ts";
import { recoveryTests } from "./suite/recovery.ts";
import { refusalTests } from "./suite/refusals.ts";
import { serverTests } from "./suite/server.ts";
import { volumeTests } from "./suite/volumes.ts";

setDefaultTimeout(120_000);

/** Makes the tests; `why` says why they can't run here. */
export function kubeletSuite(name: string, why: string | undefined, start: () => Promise<TestRuntime>): void {
  if (why) console.warn(`skipped: a kubelet on ${name}: ${why}`);
  describe.skipIf(why !== undefined)(`a kubelet on ${name}`, () => tests(name, start));
}

function tests(name: string, start: () => Promise<TestRuntime>): void {
  let runtime: TestRuntime;
  let node: TestNode;
  beforeAll(async () => {
    runtime = await start();
    node = await TestNode.start(runtime);
  }, 120_000);
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]();
    await runtime?.[Symbol.asyncDispose]();
  }, 120_000);

  test("registers a node that is Ready, with a lease", async () => {
    const { status, metadata } = await node.node();
    expect(status?.conditions?.find((c) => c.type === "Ready")).toMatchObject({ status: "True", reason: "KubeletReady" });
    expect(metadata.labels).toMatchObject({ "kubernetes.io/hostname": "n1", "kubernetes.io/os": "linux" });
    expect(status?.nodeInfo?.containerRuntimeVersion).toStartWith(`${name}://`);
    expect(status?.capacity).toMatchObject({ pods: "110" });
    const lease = await eventually("a lease", () =>
      node.api
        .get<{ spec: { holderIdentity: string } }>({
          group: "coordination.k8s.io",
          version: "v1",
          resource: "leases",
          namespace: "kube-node-lease",
          name: "n1",
        })
        .catch(() => undefined),
    );
    expect(lease.spec.holderIdentity).toBe("n1");
  });

  const subject = () => ({ node, runtime });
  containerTests(subject);
  volumeTests(subject);
  lifecycleTests(subject);
  serverTests(subject);
  refusalTests(subject);
  // Last, as its own last test takes the node away.
  recoveryTests(subject);
}
