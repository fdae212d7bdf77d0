// The discovery documents: which groups, versions and resources are served
// (/api, /apis, /apis/GROUP, /apis/GROUP/VERSION, and the aggregated form).
import type * as metaV1 from "./gen/meta/v1.ts";
import { apiVersion, type GroupVersionKind } from "./object.ts";
import type { KindInfo } from "./schema.ts";

/** A resource that the apiserver serves. */
export interface ServedResource {
  info: KindInfo;
  /** Absent: defaultVerbs(info). */
  verbs?: readonly string[];
}

export const standardVerbs: readonly string[] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

const createOnly = ["create"];
const specialVerbs: Record<string, readonly string[]> = {
  "/bindings": createOnly,
  "/componentstatuses": ["get", "list"],
  "authentication.k8s.io/tokenreviews": createOnly,
  "authentication.k8s.io/selfsubjectreviews": createOnly,
  "authorization.k8s.io/subjectaccessreviews": createOnly,
  "authorization.k8s.io/selfsubjectaccessreviews": createOnly,
  "authorization.k8s.io/localsubjectaccessreviews": createOnly,
  "authorization.k8s.io/selfsubjectrulesreviews": createOnly,
};

/** The verbs of a resource as upstream serves it, sorted. */
export const defaultVerbs = (info: KindInfo): readonly string[] => specialVerbs[`${info.group}/${info.plural}`] ?? standardVerbs;

const readWrite = ["get", "patch", "update"];
const connect = ["create", "get"];
const proxy = ["create", "delete", "get", "patch", "update"];
const core = (kind: string): GroupVersionKind => ({ group: "", version: "v1", kind });

interface Subresource {
  verbs: readonly string[];
  /** Absent: the resource's own kind. */
  kind?: GroupVersionKind;
}

const subresources: Record<string, Subresource> = {
  approval: { verbs: readWrite },
  attach: { verbs: connect, kind: core("PodAttachOptions") },
  binding: { verbs: createOnly, kind: core("Binding") },
  ephemeralcontainers: { verbs: readWrite },
  eviction: { verbs: createOnly, kind: { group: "policy", version: "v1", kind: "Eviction" } },
  exec: { verbs: connect, kind: core("PodExecOptions") },
  finalize: { verbs: ["update"] },
  log: { verbs: ["get"] },
  portforward: { verbs: connect, kind: core("PodPortForwardOptions") },
  resize: { verbs: readWrite },
  scale: { verbs: readWrite, kind: { group: "autoscaling", version: "v1", kind: "Scale" } },
  status: { verbs: readWrite },
  token: { verbs: createOnly, kind: { group: "authentication.k8s.io", version: "v1", kind: "TokenRequest" } },
  "nodes/proxy": { verbs: proxy, kind: core("NodeProxyOptions") },
  "pods/proxy": { verbs: proxy, kind: core("PodProxyOptions") },
  "services/proxy": { verbs: proxy, kind: core("ServiceProxyOptions") },
};

/** What is served below a resource: the verbs, and the kind of what comes back. */
export function subresourceOf(info: KindInfo, name: string): { verbs: readonly string[]; kind: GroupVersionKind } {
  const s = subresources[name] ?? subresources[`${info.plural}/${name}`] ?? { verbs: readWrite };
  return { verbs: s.verbs, kind: s.kind ?? { group: info.group, version: info.version, kind: info.kind } };
}

/** Groups in the order that clients prefer kinds of the same name; groups not listed come after, by name. */
const groupOrder = [
  "",
  "apiregistration.k8s.io",
  "apps",
  "events.k8s.io",
  "authentication.k8s.io",
  "authorization.k8s.io",
  "autoscaling",
  "batch",
  "certificates.k8s.io",
  "networking.k8s.io",
  "policy",
  "rbac.authorization.k8s.io",
  "storage.k8s.io",
  "admissionregistration.k8s.io",
  "apiextensions.k8s.io",
  "scheduling.k8s.io",
  "coordination.k8s.io",
  "node.k8s.io",
  "discovery.k8s.io",
  "resource.k8s.io",
  "flowcontrol.apiserver.k8s.io",
];
const rank = (group: string) => {
  const i = groupOrder.indexOf(group);
  return i < 0 ? groupOrder.length : i;
};

/** v2 before v1 before v1beta1 (k8s.io/apimachinery/pkg/version). */
export function compareVersions(a: string, b: string): number {
  const parse = (v: string) => {
    const m = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(v);
    return m ? { stage: m[2] === "alpha" ? 1 : m[2] === "beta" ? 2 : 3, major: Number(m[1]), minor: Number(m[3] ?? 0) } : undefined;
  };
  const x = parse(a);
  const y = parse(b);
  if (!x || !y) return x ? -1 : y ? 1 : a < b ? -1 : a > b ? 1 : 0;
  return y.stage - x.stage || y.major - x.major || y.minor - x.minor;
}

/** Kinds stored under another group or version than the one they are read as. */
const storedAs: Record<string, GroupVersionKind> = {
  "events.k8s.io/v1/Event": core("Event"),
  "autoscaling/v1/HorizontalPodAutoscaler": { group: "autoscaling", version: "v2", kind: "HorizontalPodAutoscaler" },
};

/** Tells clients whether two resources are one in storage. */
export function storageVersionHash(info: KindInfo): string {
  const s = storedAs[`${info.group}/${info.version}/${info.kind}`] ?? info;
  const digest = new Bun.CryptoHasher("sha256").update(`${s.group}/${s.version}/${s.kind}`).digest();
  return digest.subarray(0, 8).toString("base64");
}

/** A group's versions, the preferred one first, and their resources. */
interface Group {
  name: string;
  versions: Map<string, ServedResource[]>;
}

const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

/** Builds the documents for one set of resources; make a new one when the set changes. */
export class Discovery {
  readonly #groups: Group[];

  constructor(resources: Iterable<ServedResource>) {
    const groups = new Map<string, Group>();
    for (const r of resources) {
      const { group, version } = r.info;
      let g = groups.get(group);
      if (!g) {
        g = { name: group, versions: new Map() };
        groups.set(group, g);
      }
      g.versions.set(version, [...(g.versions.get(version) ?? []), r]);
    }
    for (const g of groups.values()) g.versions = new Map([...g.versions].sort(([a], [b]) => compareVersions(a, b)));
    this.#groups = [...groups.values()].sort((a, b) => rank(a.name) - rank(b.name) || byName(a, b));
  }

  /** /api; `serverAddress` is "host:port" as clients reach it. */
  versions(serverAddress: string): metaV1.APIVersions & { kind: string } {
    return { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress }] };
  }

  /** /apis */
  groups(): metaV1.APIGroupList {
    return { kind: "APIGroupList", apiVersion: "v1", groups: this.#groups.filter((g) => g.name !== "").map(describeGroup) };
  }

  /** /apis/GROUP; undefined when there is none. */
  group(name: string): metaV1.APIGroup | undefined {
    const g = name === "" ? undefined : this.#groups.find((x) => x.name === name);
    return g && { kind: "APIGroup", apiVersion: "v1", ...describeGroup(g) };
  }

  /** /api/v1 and /apis/GROUP/VERSION; undefined when there is none. */
  resources(gv: { group: string; version: string }): metaV1.APIResourceList | undefined {
    const served = this.#groups.find((g) => g.name === gv.group)?.versions.get(gv.version);
    if (!served) return undefined;
    const resources = served.flatMap(({ info, verbs }) => [
      describeResource(info, verbs),
      ...info.subresources.map((s) => describeSubresource(info, s)),
    ]);
    return {
      kind: "APIResourceList",
      ...(gv.group ? { apiVersion: "v1" } : {}),
      groupVersion: apiVersion(gv),
      resources: resources.sort(byName),
    };
  }

  /** Groups and versions that are served, as "v1" and "apps/v1". */
  groupVersions(): { group: string; version: string }[] {
    return this.#groups.flatMap((g) => [...g.versions.keys()].map((version) => ({ group: g.name, version })));
  }

  /** /api or /apis as APIGroupDiscoveryList (g=apidiscovery.k8s.io, v=v2 or v2beta1). */
  aggregated(which: "api" | "apis", version = "v2"): object {
    return {
      kind: "APIGroupDiscoveryList",
      apiVersion: `apidiscovery.k8s.io/${version}`,
      metadata: {},
      items: this.#groups
        .filter((g) => (g.name === "") === (which === "api"))
        .map((g) => ({
          metadata: g.name === "" ? {} : { name: g.name },
          versions: [...g.versions].map(([v, served]) => ({
            version: v,
            resources: served.map(aggregate).sort(byResource),
            freshness: "Current",
          })),
        })),
    };
  }
}

const byResource = (a: { resource: string }, b: { resource: string }) => (a.resource < b.resource ? -1 : 1);

function describeGroup(g: Group): metaV1.APIGroup {
  const versions = [...g.versions.keys()].map((version) => ({ groupVersion: `${g.name}/${version}`, version }));
  return { name: g.name, versions, preferredVersion: versions[0]! };
}

function describeResource(info: KindInfo, verbs = defaultVerbs(info)): metaV1.APIResource {
  return {
    name: info.plural,
    singularName: info.singular,
    namespaced: info.namespaced,
    kind: info.kind,
    verbs: [...verbs],
    ...(info.shortNames.length > 0 ? { shortNames: [...info.shortNames] } : {}),
    ...(info.categories.length > 0 ? { categories: [...info.categories] } : {}),
    ...(verbs.includes("list") && info.plural !== "componentstatuses" ? { storageVersionHash: storageVersionHash(info) } : {}),
  };
}

function describeSubresource(info: KindInfo, name: string): metaV1.APIResource {
  const { verbs, kind } = subresourceOf(info, name);
  const foreign = kind.group !== info.group || kind.version !== info.version;
  return {
    name: `${info.plural}/${name}`,
    singularName: "",
    namespaced: info.namespaced,
    ...(foreign ? { group: kind.group, version: kind.version } : {}),
    kind: kind.kind,
    verbs: [...verbs],
  };
}

function aggregate({ info, verbs = defaultVerbs(info) }: ServedResource) {
  return {
    resource: info.plural,
    responseKind: { group: info.group, version: info.version, kind: info.kind },
    scope: info.namespaced ? "Namespaced" : "Cluster",
    singularResource: info.singular,
    verbs: [...verbs],
    ...(info.shortNames.length > 0 ? { shortNames: [...info.shortNames] } : {}),
    ...(info.categories.length > 0 ? { categories: [...info.categories] } : {}),
    ...(info.subresources.length > 0
      ? {
          subresources: [...info.subresources].sort().map((subresource) => {
            const s = subresourceOf(info, subresource);
            return { subresource, responseKind: s.kind, verbs: [...s.verbs] };
          }),
        }
      : {}),
  };
}
