// What outlives the kubelet, and what it cleans up.
import { expect, test } from "bun:test";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { pods } from "../../../client/resources.ts";
import { mountsUnder } from "../../../platform/mount.ts";
import { dial } from "../../cri/client.ts";
import { removeAllPods } from "../../remove-all.ts";
import { container, eventually } from "../node.ts";
import { forever, type Subject } from "./subject.ts";

export function recoveryTests(subject: () => Subject): void {
  test("leaves containers alone when it is started again, and takes them up", async () => {
    const { node } = subject();
    await node.run("adopted", forever, { readinessProbe: { exec: { command: ["true"] }, periodSeconds: 1, timeoutSeconds: 20 } });
    const before = container(await node.ready("adopted"));
    const unready: string[] = [];
    const undo = node.api.writes.length;
    await node.restart();
    await eventually("the pod is known again", async () => (await (await node.get("/pods")).json()).items.length > 0 || undefined);
    const after = container(await node.ready("adopted"));
    for (const w of node.api.writes.slice(undo)) {
      const status = (w.object as { status?: { conditions?: { type: string; status: string }[] } }).status;
      if (
        w.target.resource === "pods" &&
        w.target.name === "adopted" &&
        status?.conditions?.some((c) => c.type === "Ready" && c.status === "False")
      )
        unready.push(w.verb);
    }
    expect([after.containerID, after.restartCount]).toEqual([before.containerID, 0]);
    expect(unready).toEqual([]);
    expect((await node.events("adopted")).filter((e) => e.startsWith("Started")).length).toBe(1);
    await node.delete("adopted");
    await node.gone("adopted");
  });

  test("replaces a sandbox that died, and starts its containers again", async () => {
    const { node, runtime } = subject();
    await node.run("phoenix", forever);
    const before = await node.ready("phoenix");
    const cri = await dial(runtime.socket);
    const { items } = await cri.runtime.listPodSandbox({ filter: { labelSelector: { "io.kubernetes.pod.name": "phoenix" } } });
    await cri.runtime.stopPodSandbox({ podSandboxId: items[0]!.id });
    await cri.close();
    const after = await node.until(
      "phoenix",
      "runs again",
      (p) => container(p)?.ready && container(p).containerID !== container(before).containerID,
    );
    // One more where the container's end was seen before the sandbox's.
    expect(container(after).restartCount).toBeGreaterThanOrEqual(1);
    expect(await node.events("phoenix")).toContain("SandboxChanged: Pod sandbox changed, it will be killed and re-created.");
    await node.delete("phoenix");
  });

  test("removes what nobody wants any more", async () => {
    const { node } = subject();
    const pod = await node.run("orphan", forever);
    await node.ready("orphan");
    await node.kubelet.stop();
    await node.api.delete({ ...pods, namespace: "default", name: "orphan" }, { gracePeriodSeconds: 0 });
    await node.restart();
    await eventually("the folder is gone", () => !existsSync(join(node.rootDir, "pods", pod.metadata.uid!)) || undefined);
  });

  test("runs a pod from a file, and shows it as a mirror that it replaces when someone deletes it", async () => {
    const { node } = subject();
    const manifests = node.manifests;
    const spec = {
      restartPolicy: "Always",
      terminationGracePeriodSeconds: 1,
      containers: [{ name: "c", image: "kubun.test/busybox:1", command: ["sh", "-c", forever] }],
    };
    writeFileSync(join(manifests, "static.yaml"), JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name: "static" }, spec }));
    const ready = () => eventually("the mirror is ready", () => node.ready("static-n1", 100).catch(() => undefined));
    const mirror = await ready();
    expect(mirror.metadata.annotations).toHaveProperty(["kubernetes.io/config.mirror"]);
    await node.api.delete({ ...pods, namespace: "default", name: "static-n1" }, { gracePeriodSeconds: 0 });
    const again = await ready();
    expect(again.metadata.uid).not.toBe(mirror.metadata.uid);
    expect(container(again).containerID).toBe(container(mirror).containerID);
    rmSync(join(manifests, "static.yaml"));
    await node.gone("static-n1");
  });

  test("leaves nothing behind: no sandbox, no mount, no folder", async () => {
    const { node, runtime } = subject();
    await node.run(
      "left",
      forever,
      { volumeMounts: [{ name: "m", mountPath: "/m" }] },
      { volumes: [{ name: "m", emptyDir: { medium: "Memory" } }] },
    );
    await node.ready("left");
    await node.kubelet.stop();
    expect(mountsUnder(node.rootDir).length).toBeGreaterThan(0);
    await removeAllPods({ rootDir: node.rootDir, runtimeEndpoint: runtime.socket });
    await removeAllPods({ rootDir: node.rootDir, runtimeEndpoint: runtime.socket });
    const cri = await dial(runtime.socket);
    const { items } = await cri.runtime.listPodSandbox({});
    await cri.close();
    expect([items.length, mountsUnder(node.rootDir).length]).toEqual([0, 0]);
    expect(await readdir(node.rootDir)).toEqual([]);
  });
}
