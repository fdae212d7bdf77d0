// componentstatuses and bindings: resources of the core group that are not stored.

import type { KubeObject } from "../api/object.ts";
import { kindOf } from "../api/schema.ts";
import { badRequest } from "../api/status.ts";
import type { StoreClient } from "../client/etcd.ts";
import type { Registry } from "./registry/registry.ts";
import { Entry } from "./storage/entry.ts";
import { binding } from "./subresources/binding.ts";
import type { VirtualResource } from "./virtual.ts";

const statusKind = kindOf({ group: "", version: "v1", kind: "ComponentStatus" })!;
const bindingKind = kindOf({ group: "", version: "v1", kind: "Binding" })!;

/** By "group/version/plural". */
export function components(registry: Registry, store: StoreClient): [string, VirtualResource][] {
  const list = async () => {
    let problem: string | undefined;
    try {
      problem = (await store.status()).errors[0];
    } catch (error) {
      problem = (error as Error).message;
    }
    const condition = { type: "Healthy", status: problem ? "False" : "True", message: problem ?? "ok" };
    const object = { kind: "ComponentStatus", apiVersion: "v1", metadata: { name: "etcd-0" }, conditions: [condition] };
    return { entries: [new Entry("etcd-0", 0, object as KubeObject)], resourceVersion: "" };
  };
  return [
    ["/v1/componentstatuses", { info: statusKind, list }],
    [
      "/v1/bindings",
      {
        info: bindingKind,
        async create(context, target, object) {
          const { name } = object.metadata;
          if (!name) throw badRequest("a binding must name its pod");
          const pods = registry.resources.need("", "v1", "pods");
          return binding.create!(registry, pods, context, { ...target, resource: "pods", subresource: "binding", name }, object);
        },
      },
    ],
  ];
}
