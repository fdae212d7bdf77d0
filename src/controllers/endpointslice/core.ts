// What the EndpointSlices of a Service should become, with as few writes as
// will do (k8s.io/endpointslice, reconciler.go).

import { deepEqual } from "../../api/equal.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type * as discoveryV1 from "../../api/gen/discovery/v1.ts";
import { endpointSlices, services } from "../../client/resources.ts";
import { controllerReference } from "../framework/owners.ts";
import { create, remove, update, type Write } from "../framework/write.ts";
import {
  type AddressType,
  addressTypes,
  endpointPorts,
  isEligible,
  isHeadless,
  labels,
  podAddresses,
  sliceEndpoint,
  sliceManager,
} from "./endpoints.ts";

type Slice = discoveryV1.EndpointSlice;
type Endpoint = discoveryV1.Endpoint;

export interface SliceInput {
  service: coreV1.Service;
  /** Pods that its selector matches. */
  pods: readonly coreV1.Pod[];
  /** The slices that this controller made for the Service. */
  slices: readonly Slice[];
  node(name: string): coreV1.Node | undefined;
  /** Most endpoints in one slice. */
  limit?: number;
}

export function reconcileSlices(input: SliceInput): Write[] {
  const types = addressTypes(input.service);
  const writes = types.flatMap((type) => reconcileType(input, type));
  for (const slice of input.slices) if (!(types as string[]).includes(slice.addressType)) writes.push(remove(endpointSlices, slice));
  return writes;
}

interface Group {
  ports: discoveryV1.EndpointPort[];
  endpoints: Map<string, Endpoint>;
}

function reconcileType(input: SliceInput, type: AddressType): Write[] {
  const { service } = input;
  const groups = new Map<string, Group>();
  for (const pod of input.pods) {
    if (!isEligible(pod, true) || podAddresses(pod, type).length === 0) continue;
    const ports = endpointPorts(service, pod);
    const key = portsKey(ports);
    let group = groups.get(key);
    if (!group) {
      group = { ports, endpoints: new Map() };
      groups.set(key, group);
    }
    const endpoint = sliceEndpoint(pod, service, input.node(pod.spec.nodeName ?? ""), type);
    group.endpoints.set(endpointKey(endpoint), endpoint);
  }
  const present = new Map<string, Slice[]>();
  for (const slice of input.slices) {
    if (slice.addressType !== type) continue;
    const key = portsKey(slice.ports ?? []);
    present.set(key, [...(present.get(key) ?? []), slice]);
  }
  const plan = new SlicePlan(input, type);
  for (const [key, group] of groups) plan.fill(group, present.get(key) ?? []);
  for (const [key, slices] of present) if (!groups.has(key)) plan.drop(slices);
  return plan.finish();
}

const portsKey = (ports: readonly discoveryV1.EndpointPort[]) =>
  JSON.stringify(ports.map((p) => [p.name ?? "", p.protocol ?? "TCP", p.port ?? null, p.appProtocol ?? ""]).sort());
const endpointKey = (e: Endpoint) => e.targetRef?.uid ?? e.addresses.join(",");

class SlicePlan {
  readonly #input: SliceInput;
  readonly #type: AddressType;
  readonly #limit: number;
  readonly #labels: Record<string, string>;
  /** Slices that stay, each with what it should hold. */
  readonly #kept: { before: Slice; after: Slice }[] = [];
  readonly #made: Slice[] = [];
  readonly #dropped: Slice[] = [];

  constructor(input: SliceInput, type: AddressType) {
    this.#input = input;
    this.#type = type;
    this.#limit = input.limit ?? 100;
    this.#labels = sliceLabels(input.service);
  }

  /** Places a group's endpoints: where they are, then in slices that change anyway, then where there is room. */
  fill(group: Group, present: readonly Slice[]): void {
    const left = new Map(group.endpoints);
    const drafts = present.map((slice) => {
      const endpoints: Endpoint[] = [];
      for (const e of slice.endpoints ?? []) {
        const wanted = left.get(endpointKey(e));
        if (!wanted) continue;
        left.delete(endpointKey(e));
        endpoints.push(deepEqual(wanted, e) ? e : wanted);
      }
      const old = slice.endpoints ?? [];
      const changed = endpoints.length !== old.length || endpoints.some((e, i) => e !== old[i]);
      return { slice, endpoints, changed };
    });
    const rest = [...left.values()];
    const take = (draft: (typeof drafts)[number]) => {
      const moved = rest.splice(0, this.#limit - draft.endpoints.length);
      if (moved.length > 0) draft.changed = true;
      draft.endpoints.push(...moved);
    };
    for (const draft of drafts) if (draft.changed && draft.endpoints.length > 0) take(draft);
    // One more slice is written only when no less would do: the fullest with room for all that is left.
    while (rest.length > 0) {
      const room = drafts
        .filter((d) => !d.changed && d.endpoints.length > 0 && d.endpoints.length + Math.min(rest.length, this.#limit) <= this.#limit)
        .sort((a, b) => b.endpoints.length - a.endpoints.length)[0];
      const empty = drafts.find((d) => d.endpoints.length === 0);
      if (room) take(room);
      else if (empty) take(empty);
      else this.#made.push(this.#newSlice(group.ports, rest.splice(0, this.#limit)));
    }
    for (const { slice, endpoints, changed } of drafts) {
      if (endpoints.length === 0) this.#dropped.push(slice);
      else this.#keep(slice, changed ? endpoints : (slice.endpoints ?? []), slice.ports ?? []);
    }
  }

  drop(slices: readonly Slice[]): void {
    this.#dropped.push(...slices);
  }

  #keep(slice: Slice, endpoints: Endpoint[], ports: discoveryV1.EndpointPort[]): void {
    const metadata = sameLabels(slice.metadata.labels, this.#labels) ? slice.metadata : { ...slice.metadata, labels: this.#labels };
    const same = alike(endpoints, slice.endpoints) && alike(ports, slice.ports) && metadata === slice.metadata;
    this.#kept.push({ before: slice, after: same ? slice : { ...slice, metadata, endpoints, ports } });
  }

  #newSlice(ports: discoveryV1.EndpointPort[], endpoints: Endpoint[]): Slice {
    const { service } = this.#input;
    return {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        generateName: `${service.metadata.name}-`,
        namespace: service.metadata.namespace,
        labels: this.#labels,
        ownerReferences: [controllerReference(services, service)],
      },
      addressType: this.#type,
      endpoints,
      ports,
    };
  }

  finish(): Write[] {
    // A Service without endpoints keeps one empty slice, so that its readers know it has none.
    if (this.#kept.length === 0 && this.#made.length === 0) {
      const spare = this.#dropped.shift();
      if (!spare) this.#made.push(this.#newSlice([], []));
      else if ((spare.endpoints ?? []).length === 0 && (spare.ports ?? []).length === 0)
        this.#keep(spare, spare.endpoints ?? [], spare.ports ?? []);
      else this.#keep(spare, [], []);
    }
    // A slice to drop and one to make are one to update.
    while (this.#made.length > 0 && this.#dropped.length > 0) {
      const { endpoints, ports } = this.#made.shift()!;
      this.#keep(this.#dropped.shift()!, endpoints ?? [], ports ?? []);
    }
    return [
      ...this.#made.map((s) => create(endpointSlices, s)),
      ...this.#kept.filter(({ before, after }) => before !== after).map(({ after }) => update(endpointSlices, after)),
      ...this.#dropped.map((s) => remove(endpointSlices, s)),
    ];
  }
}

/** The very same list, or both empty: the apiserver stores an empty list as null. */
const alike = (a: readonly unknown[], b: readonly unknown[] | null | undefined) => a === b || (a.length === 0 && !b?.length);

function sliceLabels(service: coreV1.Service): Record<string, string> {
  const next: Record<string, string> = {};
  for (const [k, v] of Object.entries(service.metadata.labels ?? {}))
    if (k !== labels.serviceName && k !== labels.managedBy && k !== labels.headless) next[k] = v;
  next[labels.managedBy] = sliceManager;
  next[labels.serviceName] = service.metadata.name ?? "";
  if (isHeadless(service)) next[labels.headless] = "";
  return next;
}

function sameLabels(a: Record<string, string> | undefined, b: Record<string, string>): boolean {
  const keys = Object.keys(b);
  return Object.keys(a ?? {}).length === keys.length && keys.every((k) => a?.[k] === b[k]);
}
