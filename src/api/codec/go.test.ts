// What real kubectl, that is Go's decoder and encoder, makes of the same input:
// `set image --local` reads an object into Go's types and prints it again.
import { expect, test } from "bun:test";
import { copy } from "../equal.ts";
import { kindOf } from "../schema.ts";
import { decodeJson } from "./json.ts";

const kubectl = Bun.which("kubectl");
if (!kubectl) console.log("skipped: kubectl is not on PATH, so what Go makes of objects is not compared");

async function throughGo(object: object): Promise<Record<string, unknown>> {
  const p = Bun.spawn([kubectl!, "set", "image", "--local", "-f", "-", "c=changed", "-o", "json"], {
    stdin: new TextEncoder().encode(JSON.stringify(object)),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, KUBECONFIG: "/dev/null" },
  });
  const [out, err] = await Promise.all([new Response(p.stdout).text(), new Response(p.stderr).text(), p.exited]);
  if (out === "") throw new Error(err);
  return JSON.parse(out) as Record<string, unknown>;
}

// Empty required lists are left out: the apiserver prints null for them, having
// stored them as protobuf, but kubectl alone keeps what it read.

/** kubectl before 1.34 prints null for creation times that are not set. */
function withoutNullCreation(value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  const v = value as Record<string, unknown>;
  if (v.creationTimestamp === null) delete v.creationTimestamp;
  for (const x of Object.values(v)) withoutNullCreation(x);
}

const spec = {
  containers: [
    {
      name: "c",
      image: "changed",
      args: [],
      env: [
        { name: "A", value: "" },
        { name: "B", valueFrom: { resourceFieldRef: { resource: "limits.cpu" } } },
      ],
      ports: [{ containerPort: 80, hostPort: 0 }],
      resources: { limits: { cpu: 0.5, memory: "1024Mi", "example.com/x": "1000", "ephemeral-storage": "1.5Gi" }, requests: {} },
      livenessProbe: { httpGet: { port: "web", path: "/" }, periodSeconds: 0 },
      lifecycle: { preStop: { exec: {} } },
      stdin: false,
      volumeMounts: null,
    },
  ],
  hostNetwork: false,
  nodeSelector: {},
  securityContext: {},
  tolerations: [{}],
  volumes: [
    { name: "v", emptyDir: {} },
    { name: "w", projected: {} },
    { name: "x", configMap: { name: "y", defaultMode: 0 } },
  ],
  topologySpreadConstraints: [{}],
  affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: {} } },
};

const objects: Record<string, object> = {
  pod: {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", labels: {}, annotations: { a: "" }, ownerReferences: [{ apiVersion: "v1", kind: "X", name: "n", uid: "" }] },
    spec,
    status: {
      conditions: [{ type: "Ready", status: "True", lastTransitionTime: "2026-01-02T03:04:05+02:00" }],
      containerStatuses: [{ name: "c", state: { running: {} } }],
      podIPs: [{}],
    },
  },
  deployment: {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "d" },
    spec: { replicas: 0, strategy: { rollingUpdate: { maxSurge: "25%", maxUnavailable: 0 } }, template: { spec } },
  },
  statefulSet: {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name: "s" },
    spec: {
      selector: {},
      template: { spec },
      volumeClaimTemplates: [{ metadata: { name: "v" }, spec: { resources: { requests: { storage: "1000Mi" } } } }],
    },
  },
  daemonSet: { apiVersion: "apps/v1", kind: "DaemonSet", metadata: {}, spec: { template: { spec } } },
  job: { apiVersion: "batch/v1", kind: "Job", metadata: {}, spec: { template: { spec } } },
  cronJob: { apiVersion: "batch/v1", kind: "CronJob", metadata: {}, spec: { schedule: "", jobTemplate: { spec: { template: { spec } } } } },
};

for (const [name, object] of Object.entries(objects)) {
  test.skipIf(!kubectl)(`Go prints a ${name} as decodeJson leaves it`, async () => {
    const input = copy(object) as { apiVersion: string; kind: string };
    const theirs = await throughGo(JSON.parse(JSON.stringify(input).replace('"changed"', '"old"')));
    withoutNullCreation(theirs);
    const [group, version] = input.apiVersion.includes("/") ? input.apiVersion.split("/") : ["", input.apiVersion];
    const info = kindOf({ group: group!, version: version!, kind: input.kind })!;
    expect(decodeJson(info.message, input).object).toEqual(theirs);
  });
}
