import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { notFound } from "../../api/status.ts";
import { makePod } from "../testing/pods.ts";
import { type EnvSources, environment } from "./env.ts";
import { expand } from "./expand.ts";
import { serviceEnv } from "./service-env.ts";

const sources = (services: Record<string, string> = {}): EnvSources => ({
  configMap: async (name) => {
    if (name !== "map") throw notFound({ resource: "configmaps" }, name);
    return { metadata: { name }, data: { a: "1", b: "2" } };
  },
  secret: async (name) => ({ metadata: { name }, data: { s: Buffer.from("hidden").toString("base64") } }),
  addresses: { podIPs: ["10.0.0.2"], hostIPs: ["192.0.2.1"] },
  allocatable: { cpu: "4", memory: "1Gi", "ephemeral-storage": "1G" },
  services,
});

async function env(container: Partial<coreV1.Container>, services?: Record<string, string>): Promise<Record<string, string>> {
  const c = { name: "a", ...container };
  return Object.fromEntries(await environment(makePod({ containers: [c] }), c, sources(services)));
}

describe("expand", () => {
  const values: Record<string, string> = { A: "1", B: "$(A)" };
  const cases: [text: string, expected: string][] = [
    ["plain", "plain"],
    ["$(A)", "1"],
    ["$$(A)", "$(A)"],
    ["$$$(A)", "$1"],
    ["$(B)", "$(A)"],
    ["$(NONE)", "$(NONE)"],
    ["$(A", "$(A"],
    ["$A $", "$A $"],
  ];
  for (const [text, expected] of cases) test(`${text} becomes ${expected}`, () => expect(expand(text, (n) => values[n])).toBe(expected));

  test("leaves any text without a dollar as it is", () => {
    fc.assert(fc.property(fc.string(), (s) => s.includes("$") || expand(s, () => "x") === s));
  });
});

describe("environment", () => {
  test("lets a variable refer to those before it and to services", async () => {
    const got = await env(
      {
        env: [
          { name: "X", value: "$(S)" },
          { name: "Y", value: "<$(X)>" },
          { name: "Z", value: "$(LATER)" },
          { name: "LATER", value: "l" },
        ],
      },
      { S: "svc" },
    );
    expect(got).toEqual({ X: "svc", Y: "<svc>", Z: "$(LATER)", LATER: "l", S: "svc" });
  });

  test("takes whole maps and secrets with a prefix, and lets env win", async () => {
    const got = await env({
      envFrom: [{ prefix: "M_", configMapRef: { name: "map" } }, { secretRef: { name: "s" } }],
      env: [{ name: "M_a", value: "own" }],
    });
    expect(got).toEqual({ M_a: "own", M_b: "2", s: "hidden" });
  });

  test("does without what is optional", async () => {
    const got = await env({
      envFrom: [{ configMapRef: { name: "none", optional: true } }],
      env: [{ name: "X", valueFrom: { configMapKeyRef: { name: "map", key: "z", optional: true } } }],
    });
    expect(got).toEqual({});
  });

  test("refuses what is missing, in upstream's words", async () => {
    expect(env({ envFrom: [{ configMapRef: { name: "none" } }] })).rejects.toThrow('configmaps "none" not found');
    expect(env({ env: [{ name: "X", valueFrom: { secretKeyRef: { name: "s", key: "z" } } }] })).rejects.toThrow(
      "couldn't find key z in Secret ns/s",
    );
  });

  test("gives a limit that is not set as the node's allocatable", async () => {
    const ref = (resource: string, divisor?: string) => ({ resourceFieldRef: { resource, ...(divisor ? { divisor } : {}) } });
    const got = await env({
      resources: { requests: { cpu: "250m" }, limits: { memory: "64Mi" } },
      env: [
        { name: "CPU", valueFrom: ref("limits.cpu") },
        { name: "REQUEST", valueFrom: ref("requests.cpu") },
        { name: "MEMORY", valueFrom: ref("limits.memory", "1Mi") },
      ],
    });
    expect(got).toEqual({ CPU: "4", REQUEST: "1", MEMORY: "64" });
  });
});

test("a service is told of in upstream's variables, the apiserver's always", () => {
  const service = (namespace: string, name: string, clusterIP: string): coreV1.Service => ({
    metadata: { namespace, name },
    spec: { clusterIP, ports: [{ name: "http-web", port: 80, protocol: "TCP" }] },
  });
  const all = [
    service("default", "kubernetes", "10.96.0.1"),
    service("ns", "my-app", "10.96.0.9"),
    service("ns", "headless", "None"),
    service("other", "x", "10.96.0.7"),
  ];
  expect(serviceEnv(all, "ns", true)).toMatchObject({
    KUBERNETES_SERVICE_HOST: "10.96.0.1",
    MY_APP_SERVICE_HOST: "10.96.0.9",
    MY_APP_SERVICE_PORT: "80",
    MY_APP_SERVICE_PORT_HTTP_WEB: "80",
    MY_APP_PORT: "tcp://10.96.0.9:80",
    MY_APP_PORT_80_TCP_ADDR: "10.96.0.9",
  });
  expect(Object.keys(serviceEnv(all, "ns", true)).some((k) => k.startsWith("HEADLESS") || k.startsWith("X_"))).toBe(false);
  expect(Object.keys(serviceEnv(all, "ns", false)).some((k) => k.startsWith("MY_APP"))).toBe(false);
});
