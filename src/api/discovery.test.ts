import { expect, test } from "bun:test";
import { compareVersions, Discovery, storageVersionHash } from "./discovery.ts";
import { kinds, resourceOf } from "./schema.ts";

const discovery = new Discovery(kinds.map((info) => ({ info })));

test("storage version hashes are upstream's", () => {
  const of = (group: string, version: string, resource: string) => storageVersionHash(resourceOf({ group, version, resource })!);
  expect(of("", "v1", "pods")).toBe("xPOwRZ+Yhw8=");
  expect(of("", "v1", "configmaps")).toBe("qFsyl6wFWjQ=");
  expect(of("apps", "v1", "deployments")).toBe("8aSe+NMegvE=");
  expect(of("events.k8s.io", "v1", "events")).toBe(of("", "v1", "events"));
});

test("resources are listed with their subresources, by name", () => {
  const list = discovery.resources({ group: "apps", version: "v1" })!;
  expect(list.groupVersion).toBe("apps/v1");
  expect(list.resources.filter((r) => r.name.startsWith("deployments"))).toEqual([
    {
      name: "deployments",
      singularName: "deployment",
      namespaced: true,
      kind: "Deployment",
      verbs: ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
      shortNames: ["deploy"],
      categories: ["all"],
      storageVersionHash: "8aSe+NMegvE=",
    },
    {
      name: "deployments/scale",
      singularName: "",
      namespaced: true,
      group: "autoscaling",
      version: "v1",
      kind: "Scale",
      verbs: ["get", "patch", "update"],
    },
    { name: "deployments/status", singularName: "", namespaced: true, kind: "Deployment", verbs: ["get", "patch", "update"] },
  ]);
  expect(discovery.resources({ group: "apps", version: "v2" })).toBeUndefined();
});

test("groups name their versions, the preferred one first", () => {
  expect(discovery.group("autoscaling")).toEqual({
    kind: "APIGroup",
    apiVersion: "v1",
    name: "autoscaling",
    versions: [
      { groupVersion: "autoscaling/v2", version: "v2" },
      { groupVersion: "autoscaling/v1", version: "v1" },
    ],
    preferredVersion: { groupVersion: "autoscaling/v2", version: "v2" },
  });
  expect(discovery.groups().groups.map((g) => g.name)).not.toContain("");
});

test("the aggregated document says the same as the plain ones", () => {
  const core = discovery.aggregated("api") as {
    items: { versions: { resources: { resource: string; verbs: string[]; subresources?: { subresource: string }[] }[] }[] }[];
  };
  const names = core.items[0]!.versions[0]!.resources.flatMap((r) => [
    r.resource,
    ...(r.subresources ?? []).map((s) => `${r.resource}/${s.subresource}`),
  ]);
  expect(names.sort()).toEqual(
    discovery
      .resources({ group: "", version: "v1" })!
      .resources.map((r) => r.name)
      .sort(),
  );
});

test("versions sort by stability, then by number", () => {
  expect(["v1beta1", "v1", "v2", "v1alpha2", "v2beta1", "foo", "v10"].sort(compareVersions)).toEqual([
    "v10",
    "v2",
    "v1",
    "v2beta1",
    "v1beta1",
    "v1alpha2",
    "foo",
  ]);
});
