// Volumes, and what changes in them.
import { expect, test } from "bun:test";
import { configMaps } from "../../../client/resources.ts";
import { container, eventually } from "../node.ts";
import { forever, type Subject } from "./subject.ts";

export function volumeTests(subject: () => Subject): void {
  test("shows a running container the new content of a ConfigMap", async () => {
    const { node } = subject();
    await node.configMap("live", { a: "old" });
    await node.run(
      "live",
      "while [ $(cat /v/a) = old ]; do sleep 0.02; done; cat /v/a; ls /v",
      { volumeMounts: [{ name: "v", mountPath: "/v" }] },
      {
        restartPolicy: "Never",
        volumes: [{ name: "v", configMap: { name: "live" } }],
      },
    );
    await node.until("live", "runs", (p) => p.status?.phase === "Running");
    await node.api.update(
      { ...configMaps, namespace: "default", name: "live" },
      { metadata: { name: "live", namespace: "default" }, data: { a: "new", b: "more" } },
    );
    await node.ended("live");
    expect(await node.logs("live")).toBe("newa\nb\n");
    await node.delete("live");
  });

  test("waits for a ConfigMap with FailedMount, and starts once it is there", async () => {
    const { node } = subject();
    await node.run(
      "waits",
      forever,
      { volumeMounts: [{ name: "v", mountPath: "/v" }] },
      { volumes: [{ name: "v", configMap: { name: "later" } }] },
    );
    await eventually(
      "an event",
      async () =>
        (await node.events("waits")).includes('FailedMount: MountVolume.SetUp failed for volume "v" : configmap "later" not found') ||
        undefined,
    );
    expect(container(await node.pod("waits")).state?.waiting?.reason).toBe("ContainerCreating");
    await node.configMap("later", { a: "1" });
    await node.ready("waits");
    await node.delete("waits");
  });

  test("gives volumes to the group of the pod", async () => {
    const { node } = subject();
    await node.configMap("group", { k: "v" });
    await node.run(
      "group",
      "stat -c '%g %a' /e; stat -Lc '%g %a' /m/k; touch /e/f; stat -c %g /e/f; id",
      {
        volumeMounts: [
          { name: "e", mountPath: "/e" },
          { name: "m", mountPath: "/m" },
        ],
      },
      {
        restartPolicy: "Never",
        securityContext: { runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000, supplementalGroups: [4000] },
        volumes: [
          { name: "e", emptyDir: {} },
          { name: "m", configMap: { name: "group", defaultMode: 0o400 } },
        ],
      },
    );
    await node.ended("group");
    expect(await node.logs("group")).toMatch(/^3000 2777\n3000 440\n3000\nuid=1000 gid=2000 groups=.*3000.*4000\n$/);
    await node.delete("group");
  });
}
