// The same patches, applied by kubectl: `patch --local` runs upstream's own code.
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeJson } from "../codec/json.ts";
import { applyJsonPatch } from "./json.ts";
import { applyMergePatch } from "./merge.ts";
import { applyStrategicMergePatch } from "./strategic.ts";

const kubectl = Bun.which("kubectl");
if (!kubectl) console.log("skipped: kubectl is not on PATH, so what it makes of patches is not compared");

const message = "k8s.io.api.apps.v1.Deployment";
const original = decodeJson(message, {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "d", labels: { a: "1", b: "2" }, finalizers: ["x/a", "x/b"] },
  spec: {
    replicas: 3,
    selector: { matchLabels: { a: "1" } },
    strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1 } },
    template: {
      metadata: { labels: { a: "1" } },
      spec: {
        containers: [
          {
            name: "a",
            image: "a:1",
            command: ["x", "y"],
            env: [
              { name: "A", value: "1" },
              { name: "B", value: "2" },
            ],
            ports: [{ containerPort: 80 }, { containerPort: 81 }],
          },
          { name: "s", image: "s:1" },
          { name: "b", image: "b:1" },
        ],
        tolerations: [{ key: "k" }],
        volumes: [
          { name: "v", emptyDir: {} },
          { name: "w", configMap: { name: "c" } },
        ],
        imagePullSecrets: [{ name: "p" }],
      },
    },
  },
}).object;

const template = (spec: object) => ({ spec: { template: { spec } } });
const order = (...names: string[]) => names.map((name) => ({ name }));

const patches: [type: "strategic" | "merge" | "json", what: string, patch: unknown][] = [
  ["strategic", "changes an element by its key", template({ containers: [{ name: "b", image: "b:2" }] })],
  ["strategic", "adds an element", template({ containers: [{ name: "n", image: "n:1" }] })],
  [
    "strategic",
    "changes one element and adds another",
    template({
      containers: [
        { name: "n", image: "n:1" },
        { name: "s", image: "s:2" },
      ],
    }),
  ],
  ["strategic", "deletes an element", template({ containers: [{ name: "s", $patch: "delete" }] })],
  ["strategic", "replaces a list", template({ containers: [{ name: "z", image: "z" }, { $patch: "replace" }] })],
  [
    "strategic",
    "replaces lists without a merge key",
    template({ containers: [{ name: "a", command: ["z"] }], tolerations: [{ key: "q" }] }),
  ],
  [
    "strategic",
    "merges nested lists",
    template({
      containers: [
        {
          name: "a",
          env: [
            { name: "B", value: null },
            { name: "C", value: "3" },
          ],
          ports: [{ containerPort: 81, name: "web" }],
        },
      ],
    }),
  ],
  [
    "strategic",
    "orders as it is told",
    template({ "$setElementOrder/containers": order("b", "n", "a"), containers: [{ name: "n", image: "n:1" }] }),
  ],
  ["strategic", "orders without changing", template({ "$setElementOrder/containers": order("b", "a") })],
  ["strategic", "unites lists of strings", { metadata: { finalizers: ["x/c", "x/a"] } }],
  [
    "strategic",
    "takes out of lists of strings",
    { metadata: { "$deleteFromPrimitiveList/finalizers": ["x/a"], "$setElementOrder/finalizers": ["x/c", "x/b"], finalizers: ["x/c"] } },
  ],
  ["strategic", "retains keys", { spec: { strategy: { $retainKeys: ["type"], type: "Recreate" } } }],
  [
    "strategic",
    "retains keys of an element",
    template({ volumes: [{ name: "v", $retainKeys: ["name", "secret"], secret: { secretName: "q" } }] }),
  ],
  ["strategic", "replaces a map", { metadata: { labels: { $patch: "replace", c: "3" } } }],
  ["strategic", "empties a map", { metadata: { labels: { $patch: "delete" } } }],
  ["strategic", "deletes by null", { metadata: { labels: { a: null, z: null } }, spec: { replicas: null } }],
  ["merge", "replaces lists", template({ containers: [{ name: "b", image: "b:2" }] })],
  ["merge", "deletes by null", { metadata: { labels: { a: null } }, spec: { strategy: null } }],
  [
    "json",
    "applies operations in order",
    [
      { op: "test", path: "/spec/replicas", value: 3 },
      { op: "replace", path: "/spec/replicas", value: 4 },
      { op: "add", path: "/spec/template/spec/containers/-", value: { name: "n" } },
      { op: "remove", path: "/spec/template/spec/containers/0" },
      { op: "move", from: "/metadata/labels/a", path: "/metadata/labels/z~1y" },
      { op: "copy", from: "/metadata/labels/b", path: "/metadata/labels/c" },
    ],
  ],
];

const ours = {
  strategic: (o: unknown, p: unknown) => applyStrategicMergePatch(o, p, message),
  merge: applyMergePatch,
  json: applyJsonPatch,
};

/** kubectl before 1.34 prints null for creation times that are not set. */
const canonical = (value: unknown) => decodeJson(message, value).object;

async function kubectlPatch(folder: string, type: string, patch: unknown): Promise<unknown> {
  const file = join(folder, "object.json");
  writeFileSync(file, JSON.stringify(original));
  const p = Bun.spawn([kubectl!, "patch", "--local", "-f", file, "--type", type, "-p", JSON.stringify(patch), "-o", "json"], {
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, KUBECONFIG: "/dev/null" },
  });
  const [out, err] = await Promise.all([new Response(p.stdout).text(), new Response(p.stderr).text(), p.exited]);
  if (out === "") throw new Error(err);
  return JSON.parse(out) as unknown;
}

for (const [type, what, patch] of patches) {
  test.skipIf(!kubectl)(`a ${type} patch ${what} as in kubectl`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "kubun-patch-"));
    try {
      expect(canonical(ours[type](original, patch))).toEqual(canonical(await kubectlPatch(folder, type, patch)));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}
