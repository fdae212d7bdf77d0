import { describe, expect, test } from "bun:test";
import { applyDefaults } from "../defaults/mod.ts";
import { copy } from "../equal.ts";
import { kindOf } from "../schema.ts";
import { validate } from "./mod.ts";

type Loose = Record<string, unknown> & { metadata: Record<string, unknown> };

function check(apiVersion: string, kind: string, object: Loose, old?: Loose): string[] {
  const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
  const info = kindOf({ group: group!, version: version!, kind })!;
  const prepared = copy(object) as Loose;
  applyDefaults(info, prepared);
  const before = old && (copy(old) as Loose);
  if (before) applyDefaults(info, before);
  return validate(info, prepared, before).map((e) => `${e.field}: ${e.message}`);
}

const meta = { name: "a", namespace: "default" };
const container = (more: object = {}) => ({ name: "c", image: "i:1", ...more });
const pod = (spec: object = {}): Loose => ({ metadata: meta, spec: { containers: [container()], ...spec } });
const deployment = (spec: object = {}): Loose => ({
  metadata: meta,
  spec: {
    selector: { matchLabels: { app: "x" } },
    template: { metadata: { labels: { app: "x" } }, spec: { containers: [container()] } },
    ...spec,
  },
});

describe("objects that are fine", () => {
  test("a small pod", () => expect(check("v1", "Pod", pod())).toEqual([]));
  test("a small deployment", () => expect(check("apps/v1", "Deployment", deployment())).toEqual([]));
  test("a service", () => expect(check("v1", "Service", { metadata: meta, spec: { ports: [{ port: 80 }] } })).toEqual([]));
  test("a role whose name has a colon", () =>
    expect(
      check("rbac.authorization.k8s.io/v1", "ClusterRole", {
        metadata: { name: "system:x" },
        rules: [{ verbs: ["get"], apiGroups: [""], resources: ["pods"] }],
      }),
    ).toEqual([]));
});

describe("objects that are refused", () => {
  const rows: [title: string, apiVersion: string, kind: string, object: Loose, errors: string[]][] = [
    [
      "a binding to what is no role",
      "rbac.authorization.k8s.io/v1",
      "RoleBinding",
      { metadata: meta, roleRef: { apiGroup: "example.com", kind: "Group", name: "a" } },
      [
        'roleRef.apiGroup: Unsupported value: "example.com": supported values: "rbac.authorization.k8s.io"',
        'roleRef.kind: Unsupported value: "Group": supported values: "ClusterRole", "Role"',
      ],
    ],
    [
      "a binding of the whole cluster to a namespace's role, and to an account of no namespace",
      "rbac.authorization.k8s.io/v1",
      "ClusterRoleBinding",
      { metadata: { name: "a" }, roleRef: { kind: "Role", name: "a" }, subjects: [{ kind: "ServiceAccount", name: "robot" }] },
      ['roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"', "subjects[0].namespace: Required value"],
    ],
    [
      "subjects of another group",
      "rbac.authorization.k8s.io/v1",
      "RoleBinding",
      { metadata: meta, roleRef: { kind: "Role", name: "a" }, subjects: [{ kind: "User", apiGroup: "example.com", name: "jane" }] },
      ['subjects[0].apiGroup: Unsupported value: "example.com": supported values: "rbac.authorization.k8s.io"'],
    ],
    ["no containers", "v1", "Pod", pod({ containers: [] }), ["spec.containers: Required value"]],
    [
      "two containers of one name",
      "v1",
      "Pod",
      pod({ containers: [container(), container()] }),
      ['spec.containers[1].name: Duplicate value: "c"'],
    ],
    [
      "a restart policy that isn't one",
      "v1",
      "Pod",
      pod({ restartPolicy: "Sometimes" }),
      ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"'],
    ],
    [
      "a mount of a volume that isn't there",
      "v1",
      "Pod",
      pod({ containers: [container({ volumeMounts: [{ name: "v", mountPath: "/v" }] })] }),
      ['spec.containers[0].volumeMounts[0].name: Not found: "v"'],
    ],
    [
      "a request above the limit",
      "v1",
      "Pod",
      pod({ containers: [container({ resources: { requests: { cpu: "2" }, limits: { cpu: "1" } } })] }),
      ['spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
    ],
    [
      "a port out of range",
      "v1",
      "Pod",
      pod({ containers: [container({ ports: [{ containerPort: 70000 }] })] }),
      ["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
    ],
    [
      "a probe without a handler",
      "v1",
      "Pod",
      pod({ containers: [container({ livenessProbe: {} })] }),
      ["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
    ],
    [
      "a selector that does not fit",
      "apps/v1",
      "Deployment",
      deployment({ selector: { matchLabels: { app: "y" } } }),
      ['spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`'],
    ],
    [
      "a deployment whose pods end",
      "apps/v1",
      "Deployment",
      deployment({ template: { metadata: { labels: { app: "x" } }, spec: { restartPolicy: "Never", containers: [container()] } } }),
      ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
    ],
    [
      "a rolling update that can't move",
      "apps/v1",
      "Deployment",
      deployment({ strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: 0 } } }),
      ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
    ],
    ["a service without ports", "v1", "Service", { metadata: meta, spec: {} }, ["spec.ports: Required value"]],
    [
      "a ConfigMap key with a slash",
      "v1",
      "ConfigMap",
      { metadata: meta, data: { "a/b": "" } },
      [
        "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
      ],
    ],
    [
      "an endpoint on loopback",
      "discovery.k8s.io/v1",
      "EndpointSlice",
      { metadata: meta, addressType: "IPv4", endpoints: [{ addresses: ["127.0.0.1"] }] },
      ['endpoints[0].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)'],
    ],
  ];
  for (const [title, apiVersion, kind, object, errors] of rows) test(title, () => expect(check(apiVersion, kind, object)).toEqual(errors));

  test("a name in upper case", () => {
    expect(check("v1", "ConfigMap", { metadata: { ...meta, name: "Upper" } })[0]).toStartWith(
      'metadata.name: Invalid value: "Upper": a lowercase RFC 1123 subdomain must consist of',
    );
  });
});

describe("updates that are refused", () => {
  test("a deployment's selector", () => {
    const changed = deployment({
      selector: { matchLabels: { app: "y" } },
      template: { metadata: { labels: { app: "y" } }, spec: { containers: [container()] } },
    });
    expect(check("apps/v1", "Deployment", changed, deployment())).toEqual([
      'spec.selector: Invalid value: {"matchLabels":{"app":"y"}}: field is immutable',
    ]);
  });
  test("a pod's command, but not its image", () => {
    expect(check("v1", "Pod", pod({ containers: [container({ command: ["x"] })] }), pod())[0]).toStartWith(
      "spec: Forbidden: pod updates may not change fields other than",
    );
    expect(check("v1", "Pod", pod({ containers: [container({ image: "i:2" })] }), pod())).toEqual(
      // The pull policy was chosen at creation; it does not follow the tag.
      [],
    );
  });
  test("an immutable ConfigMap's data", () => {
    const old: Loose = { metadata: meta, immutable: true, data: { a: "1" } };
    expect(check("v1", "ConfigMap", { ...old, data: { a: "2" } }, old)).toEqual([
      "data: Forbidden: field is immutable when `immutable` is set",
    ]);
  });
  test("a service's address", () => {
    const service = (ip: string): Loose => ({ metadata: meta, spec: { clusterIP: ip, clusterIPs: [ip], ports: [{ port: 80 }] } });
    expect(check("v1", "Service", service("10.0.0.2"), service("10.0.0.1"))).toEqual([
      'spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set',
    ]);
  });
});
