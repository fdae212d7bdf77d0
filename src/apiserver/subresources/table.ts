// Subresources that the registry alone can serve, by name or by
// "group/plural/name".
import type { KubeObject } from "../../api/object.ts";
import type { KindInfo } from "../../api/schema.ts";
import type { Target } from "../../client/transport.ts";
import type { Registry } from "../registry/registry.ts";
import type { Resource } from "../registry/resources.ts";
import type { Fresh, Stored } from "../registry/strategy.ts";
import type { RequestContext } from "../request.ts";
import type { Entry } from "../storage/entry.ts";
import { binding } from "./binding.ts";
import { eviction } from "./eviction.ts";
import { scale } from "./scale.ts";

export interface Subresource {
  /** The kind of its bodies, where that is not the resource's. */
  readonly kind?: KindInfo;
  /** GET: what it shows of the object. */
  read?(entry: Entry, resource: Resource): Entry;
  /** PUT and PATCH of the resource's own kind: what is taken over from the next state. */
  prepare?(next: Fresh, old: Stored): void;
  /** PUT and PATCH of another kind; `next` makes the new body from the current one. */
  write?(
    registry: Registry,
    resource: Resource,
    context: RequestContext,
    target: Target & { name: string },
    next: (current: KubeObject) => Fresh,
  ): Promise<{ entry: Entry; created: boolean }>;
  create?(
    registry: Registry,
    resource: Resource,
    context: RequestContext,
    target: Target & { name: string },
    object: Fresh,
  ): Promise<Entry>;
}

const whole = (entry: Entry): Entry => entry;

/** Everything but what `take` copies stays as it was. */
function only(take: (next: Fresh, old: Stored) => Partial<Fresh>): (next: Fresh, old: Stored) => void {
  return (next, old) => {
    const taken = take({ ...next } as Fresh, old);
    for (const key of Object.keys(next)) if (key !== "metadata") delete next[key];
    const { managedFields, resourceVersion } = next.metadata;
    Object.assign(next, old, taken);
    next.metadata = { ...(old.metadata as Fresh["metadata"]), resourceVersion, managedFields };
  };
}

// biome-ignore lint/suspicious/noExplicitAny: parts of a pod.
type Container = any;

export const subresources: Readonly<Record<string, Subresource>> = {
  status: { read: whole },
  scale,
  "/pods/binding": binding,
  "/pods/eviction": eviction,
  "/pods/ephemeralcontainers": {
    read: whole,
    prepare: only((next, old) => ({ spec: { ...old.spec, ephemeralContainers: next.spec?.ephemeralContainers } })),
  },
  "/pods/resize": {
    read: whole,
    prepare: only((next, old) => {
      const resized = (list: Container[] | undefined, from: Container[] | undefined) =>
        list?.map((c) => {
          const wanted = from?.find((n) => n.name === c.name);
          return wanted ? { ...c, resources: wanted.resources, resizePolicy: wanted.resizePolicy } : c;
        });
      return {
        spec: {
          ...old.spec,
          containers: resized(old.spec?.containers, next.spec?.containers),
          ...(old.spec?.initContainers ? { initContainers: resized(old.spec.initContainers, next.spec?.initContainers) } : {}),
        },
      };
    }),
  },
  "/namespaces/finalize": {
    prepare: only((next, old) => ({ spec: { ...old.spec, finalizers: next.spec?.finalizers } })),
  },
  "certificates.k8s.io/certificatesigningrequests/approval": {
    read: whole,
    prepare: only((next, old) => ({ status: { ...old.status, conditions: next.status?.conditions } })),
  },
};
