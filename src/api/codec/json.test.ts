import { expect, test } from "bun:test";
import { decodeJson } from "./json.ts";
import { parseJsonStrict } from "./strict.ts";

const deployment = "k8s.io.api.apps.v1.Deployment";
const decode = (message: string, value: unknown) => decodeJson(message, value).object as Record<string, never>;

test("an object is left as Go's encoder would print it", () => {
  const { object, unknown } = decodeJson(deployment, {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "x", labels: {}, creationTimestamp: null },
    spec: {
      replicas: 0,
      selector: null,
      template: {
        spec: {
          hostNetwork: false,
          nodeName: "",
          containers: [{ name: "c", args: [], env: [{ name: "A", value: "" }], resources: { requests: { cpu: 0.5, memory: "1024Mi" } } }],
        },
      },
    },
  });
  expect(unknown).toEqual([]);
  expect(object).toEqual({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "x" },
    spec: {
      replicas: 0,
      selector: null,
      strategy: {},
      template: {
        metadata: {},
        spec: { containers: [{ name: "c", env: [{ name: "A" }], resources: { requests: { cpu: "500m", memory: "1Gi" } } }] },
      },
    },
    status: {},
  });
});

test("required lists are null when empty, lists of objects are not", () => {
  expect(decode("k8s.io.api.rbac.v1.ClusterRole", { rules: [] })).toMatchObject({ rules: null });
  expect(decode("k8s.io.api.core.v1.PodList", {})).toEqual({ metadata: {}, items: [] } as never);
});

test("value times print null, except the creation timestamp", () => {
  const pod = decode("k8s.io.api.core.v1.Pod", {
    metadata: { creationTimestamp: "2026-01-02T03:04:05+01:00" },
    status: { conditions: [{ type: "Ready", status: "True", lastTransitionTime: "2026-01-02T03:04:05.9Z" }] },
  });
  expect(pod).toMatchObject({
    metadata: { creationTimestamp: "2026-01-02T02:04:05Z" },
    status: { conditions: [{ lastProbeTime: null, lastTransitionTime: "2026-01-02T03:04:05Z" }] },
  });
});

test("the input is not shared with the result", () => {
  const data = { a: "b" };
  const { object } = decodeJson("k8s.io.api.core.v1.ConfigMap", { data });
  expect(object.data).toEqual(data);
  expect(object.data).not.toBe(data);
});

test("a label named __proto__ is a label", () => {
  const { object } = decodeJson("k8s.io.api.core.v1.ConfigMap", JSON.parse('{"data":{"__proto__":"x"}}'));
  expect(JSON.stringify(object.data)).toBe('{"__proto__":"x"}');
});

test("unknown members are dropped and named by path", () => {
  const { object, unknown } = decodeJson(deployment, {
    foo: 1,
    spec: { template: { spec: { containers: [{ name: "a" }, { name: "b", imag: "x" }] } } },
  });
  expect(unknown).toEqual(['unknown field "spec.template.spec.containers[1].imag"', 'unknown field "foo"']);
  expect(JSON.stringify(object)).not.toContain("imag");
});

test("values of the wrong type are refused in Go's words", () => {
  const cases: [unknown, string][] = [
    [{ spec: { replicas: "3" } }, "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"],
    [{ spec: { replicas: 1.5 } }, "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"],
    [
      { spec: { template: { spec: { containers: {} } } } },
      "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
    ],
    [
      { spec: { template: { spec: { containers: [{ env: [{ value: 1 }] }] } } } },
      "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
    ],
    [{ metadata: { labels: { a: 1 } } }, "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"],
    [[], "json: cannot unmarshal array into Go value of type v1.Deployment"],
    [
      { spec: { template: { spec: { containers: [{ resources: { limits: { cpu: "x" } } }] } } } },
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ],
  ];
  for (const [value, text] of cases) expect(() => decodeJson(deployment, value)).toThrow(text);
});

test("duplicate members are found at every depth, and only they", () => {
  expect(parseJsonStrict('{"a":{"b":1,"b":2},"c":[{"x:\\"":1,"x:\\"":2}]}').duplicates).toEqual(["a.b", 'c[0].x:"']);
  expect(parseJsonStrict('{"a":"x:y\\\\","b":{"a":1}}')).toEqual({ value: { a: "x:y\\", b: { a: 1 } }, duplicates: [] });
});

test("text that is no JSON is refused in Go's words", () => {
  const cases: [string, string][] = [
    ["", "unexpected end of JSON input"],
    ["{", "unexpected end of JSON input"],
    ["{'a':1}", "invalid character '\\'' looking for beginning of object key string"],
    ["[1,]", "invalid character ']' looking for beginning of value"],
    ['{"a" 1}', "invalid character '1' after object key"],
    ["apiVersion: v1", "invalid character 'a' looking for beginning of value"],
    ['{"a":1}x', "invalid character 'x' after top-level value"],
    ["nul1", "invalid character '1' in literal null (expecting 'l')"],
  ];
  for (const [text, error] of cases) expect(() => parseJsonStrict(text)).toThrow(error);
});
