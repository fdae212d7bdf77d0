import { expect, test } from "bun:test";
import fc from "fast-check";
import { decodeJson } from "../codec/json.ts";
import { copy, deepFreeze } from "../equal.ts";
import type { ManagedFieldsEntry } from "../gen/meta/v1.ts";
import { apply, differsOnlyInManagerTimes, updateManagedFields } from "./mod.ts";

const message = "k8s.io.api.apps.v1.Deployment";
const t1 = "2026-01-01T00:00:00Z";
const t2 = "2026-01-02T00:00:00Z";
const base = { message, apiVersion: "apps/v1", time: t1 };

type Object = Record<string, unknown> & {
  metadata: { managedFields?: ManagedFieldsEntry[]; labels?: Record<string, string> };
  spec: never;
};
const canonical = (value: unknown) => deepFreeze(decodeJson(message, value).object) as Object;

const config = (spec: object, metadata: object = {}) => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", namespace: "default", ...metadata },
  spec,
});
const pod = (...containers: object[]) => ({ template: { spec: { containers } } });

/** Applies and stores, as the apiserver does. */
function applied(live: Object | undefined, patch: object, manager: string, options: { force?: boolean; time?: string } = {}): Object {
  return canonical(apply(live, deepFreeze(patch), { ...base, manager, ...options }).object);
}

function updated(live: Object | undefined, next: object, manager: string, options: { time?: string; subresource?: string } = {}): Object {
  const object = canonical(next);
  const managedFields = updateManagedFields(live, object, { ...base, manager, ...options });
  return deepFreeze({ ...object, metadata: { ...object.metadata, managedFields } });
}

const fieldsOf = (object: Object, manager: string) => object.metadata.managedFields?.find((e) => e.manager === manager)?.fieldsV1;

test("a create owns what it sets, as upstream records it", () => {
  const live = updated(
    undefined,
    config(
      {
        replicas: 1,
        selector: { matchLabels: { app: "web" } },
        strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: "25%", maxUnavailable: "25%" } },
        template: {
          metadata: { labels: { app: "web" } },
          spec: {
            containers: [{ name: "nginx", image: "nginx", ports: [{ containerPort: 80, protocol: "TCP" }], resources: {} }],
            securityContext: {},
          },
        },
      },
      { labels: { app: "web" } },
    ),
    "kubectl-create",
  );
  expect(live.metadata.managedFields).toEqual([
    {
      manager: "kubectl-create",
      operation: "Update",
      apiVersion: "apps/v1",
      time: t1,
      fieldsType: "FieldsV1",
      fieldsV1: {
        "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
        "f:spec": {
          "f:replicas": {},
          "f:selector": {},
          "f:strategy": { "f:rollingUpdate": { ".": {}, "f:maxSurge": {}, "f:maxUnavailable": {} }, "f:type": {} },
          "f:template": {
            "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
            "f:spec": {
              "f:containers": {
                'k:{"name":"nginx"}': {
                  ".": {},
                  "f:image": {},
                  "f:name": {},
                  "f:ports": { ".": {}, 'k:{"containerPort":80,"protocol":"TCP"}': { ".": {}, "f:containerPort": {}, "f:protocol": {} } },
                  "f:resources": {},
                },
              },
              "f:securityContext": {},
            },
          },
        },
      },
    },
  ]);
});

test("an update takes the fields it changes from the others, and changes no time but its own", () => {
  const live = updated(undefined, config({ replicas: 1, paused: true }), "a");
  const next = updated(live, { ...copy(live), spec: { ...copy(live.spec as object), replicas: 2 } }, "b", { time: t2 });
  expect(fieldsOf(next, "a")).toEqual({ "f:spec": { "f:paused": {} } });
  expect(fieldsOf(next, "b")).toEqual({ "f:spec": { "f:replicas": {} } });
  expect(next.metadata.managedFields?.map((e) => e.time)).toEqual([t1, t2]);
});

test("an update that changes nothing leaves the entries untouched", () => {
  const live = updated(undefined, config({ replicas: 1 }), "a");
  const same = canonical(copy(live));
  expect(updateManagedFields(live, same, { ...base, manager: "b", time: t2 })).toBe(same.metadata.managedFields);
});

test("a client that sends no managedFields does not delete them, an empty entry does", () => {
  const live = updated(undefined, config({ replicas: 1 }), "a");
  expect(updated(live, config({ replicas: 1 }), "b").metadata.managedFields).toEqual(live.metadata.managedFields);
  expect(updated(live, config({ replicas: 1 }, { managedFields: [{}] }), "b").metadata.managedFields).toBeUndefined();
});

test("a status update is an entry of its own", () => {
  const live = updated(undefined, config({ replicas: 1 }), "a");
  const next = updated(live, { ...copy(live), status: { replicas: 1 } }, "controller", { subresource: "status", time: t2 });
  expect(next.metadata.managedFields?.[1]).toEqual({
    manager: "controller",
    operation: "Update",
    apiVersion: "apps/v1",
    time: t2,
    fieldsType: "FieldsV1",
    fieldsV1: { "f:status": { "f:replicas": {} } },
    subresource: "status",
  });
});

test("apply owns the fields of the configuration and no more", () => {
  const live = applied(undefined, config({ replicas: 3, ...pod({ name: "a", image: "1" }) }, { labels: { x: "y" } }), "me");
  expect(live.metadata.managedFields).toEqual([
    {
      manager: "me",
      operation: "Apply",
      apiVersion: "apps/v1",
      time: t1,
      fieldsType: "FieldsV1",
      fieldsV1: {
        "f:metadata": { "f:labels": { "f:x": {} } },
        "f:spec": {
          "f:replicas": {},
          "f:template": { "f:spec": { "f:containers": { 'k:{"name":"a"}': { ".": {}, "f:name": {}, "f:image": {} } } } },
        },
      },
    },
  ]);
});

test("what a manager no longer applies goes, unless someone else manages it", () => {
  let live = applied(
    undefined,
    config({ replicas: 3, paused: true, ...pod({ name: "a" }, { name: "b" }) }, { labels: { x: "1", y: "1" } }),
    "me",
  );
  live = applied(live, config({ paused: true }), "other");
  live = applied(live, config(pod({ name: "a" }), { labels: { x: "1" } }), "me", { time: t2 });
  expect(live.spec).toMatchObject({ paused: true, template: { spec: { containers: [{ name: "a" }] } } } as never);
  expect(live.spec as object).not.toHaveProperty("replicas");
  expect(live.metadata.labels).toEqual({ x: "1" });
  expect((live.spec as { template: { spec: { containers: unknown[] } } }).template.spec.containers).toHaveLength(1);
});

test("a conflict names the manager and the field as upstream does", () => {
  const live = updated(undefined, config({ replicas: 1, ...pod({ name: "a", image: "1" }) }), "kubectl-client-side-apply");
  const one = () => applied(live, config({ replicas: 2 }), "me");
  expect(one).toThrow('Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas');
  try {
    one();
  } catch (error) {
    expect((error as { status: unknown }).status).toMatchObject({
      code: 409,
      reason: "Conflict",
      details: {
        causes: [
          { reason: "FieldManagerConflict", message: 'conflict with "kubectl-client-side-apply" using apps/v1', field: ".spec.replicas" },
        ],
      },
    });
  }
  expect(() => applied(live, config({ replicas: 2, ...pod({ name: "a", image: "2" }) }), "me")).toThrow(
    'Apply failed with 2 conflicts: conflicts with "kubectl-client-side-apply" using apps/v1:\n- .spec.replicas\n- .spec.template.spec.containers[name="a"].image',
  );
});

test("force takes the field, equal values are shared", () => {
  let live = applied(undefined, config({ replicas: 1 }), "a");
  live = applied(live, config({ replicas: 1 }), "b");
  expect(live.metadata.managedFields).toHaveLength(2);
  live = applied(live, config({ replicas: 2 }), "c", { force: true, time: t2 });
  expect(live.metadata.managedFields?.map((e) => e.manager)).toEqual(["c"]);
});

test("applying the same again changes nothing, not even the time", () => {
  const patch = config({ replicas: 3, ...pod({ name: "a", ports: [{ containerPort: 80 }] }) });
  const live = applied(undefined, patch, "me");
  const again = apply(live, patch, { ...base, manager: "me", time: t2 });
  expect(again.changed).toBe(false);
  expect(canonical(again.object)).toEqual(live);
});

test("applied list elements keep the configuration's order, the others stay between them", () => {
  const live = updated(undefined, config(pod({ name: "a" }, { name: "s" }, { name: "b" })), "x");
  const next = applied(live, config(pod({ name: "b" }, { name: "c" }, { name: "a" })), "me");
  const names = (next.spec as { template: { spec: { containers: { name: string }[] } } }).template.spec.containers.map((c) => c.name);
  expect(names).toEqual(["s", "b", "c", "a"]);
});

test("an object from before managed fields gets an entry for what was there", () => {
  const live = canonical(config({ replicas: 1 }));
  expect(updated(live, config({ replicas: 2 }), "a").metadata.managedFields).toBeUndefined();
  expect(() => applied(live, config({ replicas: 2 }), "me")).toThrow('conflict with "before-first-apply" using apps/v1: .spec.replicas');
});

test("kubectl takes over what it applied client-side", () => {
  const annotations = {
    "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify(config({ replicas: 1 })),
  };
  const live = updated(undefined, config({ replicas: 1 }, { annotations }), "kubectl-client-side-apply");
  const next = applied(live, config({ replicas: 2 }), "kubectl");
  expect((next.spec as { replicas: number }).replicas).toBe(2);
  expect(
    JSON.parse(
      (next.metadata as never as { annotations: Record<string, string> }).annotations["kubectl.kubernetes.io/last-applied-configuration"]!,
    ).spec,
  ).toEqual({
    replicas: 2,
  });
});

test("a configuration that its type does not allow is refused in upstream's words", () => {
  expect(() => applied(undefined, config({ foo: 1 }), "me")).toThrow(
    "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema",
  );
  expect(() => applied(undefined, config(pod({ name: "a" }, { name: "a" })), "me")).toThrow(
    '.spec.template.spec.containers: duplicate entries for key [name="a"]',
  );
  expect(() => applied(undefined, config({}, { managedFields: [{ manager: "x" }] }), "me")).toThrow("metadata.managedFields must be nil");
  expect(() => applied(undefined, { ...config({}), apiVersion: "v1" }, "me")).toThrow(
    "Incorrect version specified in apply patch. Specified version: v1, expected: apps/v1",
  );
});

test("no more than ten Update entries are kept", () => {
  let live = updated(undefined, config({ replicas: 1 }), "creator");
  for (let i = 0; i < 15; i++) {
    const time = `2026-02-01T00:00:${String(i).padStart(2, "0")}Z`;
    const labels = { ...live.metadata.labels, [`l${i}`]: "x" };
    live = updated(live, { ...copy(live), metadata: { ...copy(live.metadata), labels } }, `m${i}`, { time });
  }
  expect(live.metadata.managedFields).toHaveLength(10);
  expect(fieldsOf(live, "ancient-changes")).toMatchObject({
    "f:spec": { "f:replicas": {} },
    "f:metadata": { "f:labels": { "f:l0": {}, "f:l5": {} } },
  });
});

test("whatever two managers apply, each field of a configuration is live and owned by its manager", () => {
  const labels = fc.dictionary(fc.constantFrom("a", "b", "c"), fc.constantFrom("1", "2"), { maxKeys: 3 });
  const containers = fc.uniqueArray(fc.record({ name: fc.constantFrom("x", "y", "z"), image: fc.constantFrom("1", "2") }), {
    selector: (c) => c.name,
  });
  const steps = fc.array(fc.record({ manager: fc.constantFrom("p", "q"), labels, containers }), { minLength: 1, maxLength: 6 });
  // An empty map or list would be a path of its own, and gone once stored.
  const of = (s: { labels: object; containers: object[] }) =>
    config(s.containers.length > 0 ? pod(...s.containers) : { paused: true }, Object.keys(s.labels).length > 0 ? { labels: s.labels } : {});
  fc.assert(
    fc.property(steps, (list) => {
      let live: Object | undefined;
      const claims: Record<string, Record<string, string>> = { p: {}, q: {} };
      for (const s of list) {
        live = applied(live, of(s), s.manager, { force: true });
        claims[s.manager] = { ...s.labels };
        // Force takes a label from whoever wants another value.
        const other = claims[s.manager === "p" ? "q" : "p"]!;
        for (const [k, v] of Object.entries(s.labels)) if (other[k] !== v) delete other[k];
        expect(live.metadata.labels ?? {}).toMatchObject(s.labels);
        const names = new Set(Object.values(claims).flatMap((c) => Object.keys(c)));
        expect(new Set(Object.keys(live.metadata.labels ?? {}))).toEqual(names);
        const again = apply(live, of(s), { ...base, manager: s.manager, force: true });
        expect(differsOnlyInManagerTimes(canonical(again.object), live)).toBe(true);
      }
    }),
    { numRuns: 200 },
  );
});
