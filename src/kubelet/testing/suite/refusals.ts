// Pods that can't be started, and what they are told.
import { expect, test } from "bun:test";
import { container } from "../node.ts";
import { forever, type Subject } from "./subject.ts";

export function refusalTests(subject: () => Subject): void {
  test("says why an image can't be had", async () => {
    const { node } = subject();
    await node.run("noimage", forever, { image: "127.0.0.1:1/none:1" });
    await node.until("noimage", "shows the failure", (p) => container(p)?.state?.waiting?.reason === "ErrImagePull");
    const pod = await node.until("noimage", "backs off", (p) => container(p)?.state?.waiting?.reason === "ImagePullBackOff");
    expect(container(pod).state?.waiting?.message).toStartWith('Back-off pulling image "127.0.0.1:1/none:1"');
    const events = await node.events("noimage");
    expect(events).toContain('Pulling: Pulling image "127.0.0.1:1/none:1"');
    expect(events.some((e) => e.startsWith('Failed: Failed to pull image "127.0.0.1:1/none:1": rpc error: code = '))).toBe(true);
    expect((await node.logs("noimage")).trim()).toBe(
      'container "c" in pod "noimage" is waiting to start: trying and failing to pull image',
    );
    await node.delete("noimage");
    await node.gone("noimage");
  });

  test("refuses to start what its spec can't give, in upstream's words", async () => {
    const { node } = subject();
    await node.configMap("keyless", {});
    await node.run("badenv", forever, { env: [{ name: "X", valueFrom: { configMapKeyRef: { name: "keyless", key: "none" } } }] });
    const pod = await node.until("badenv", "is refused", (p) => container(p)?.state?.waiting?.reason === "CreateContainerConfigError");
    expect(container(pod).state?.waiting?.message).toBe("couldn't find key none in ConfigMap default/keyless");
    await node.run("badroot", forever, { securityContext: { runAsNonRoot: true } });
    const other = await node.until("badroot", "is refused", (p) => container(p)?.state?.waiting?.reason === "CreateContainerConfigError");
    expect(container(other).state?.waiting?.message).toContain("container has runAsNonRoot and image will run as root");
    await Promise.all(["badenv", "badroot"].map((n) => node.delete(n)));
  });

  test("refuses a pod that it has no room for, and starts none of it", async () => {
    const { node } = subject();
    await node.run("huge", forever, { resources: { requests: { cpu: "1000" } } });
    const pod = await node.ended("huge");
    expect(pod.status).toMatchObject({ phase: "Failed", reason: "OutOfcpu" });
    expect(pod.status?.message).toStartWith("Pod was rejected: Node didn't have enough resource: cpu, requested: 1000000, used: ");
    expect(pod.status?.containerStatuses).toBeUndefined();
    expect((await node.events("huge")).filter((e) => e.startsWith("OutOfcpu: Node didn't have enough resource: cpu"))).toHaveLength(1);
    await node.delete("huge");
    await node.gone("huge");
  });
}
