// Which collections the apiserver has, from its discovery documents.
import { parseApiVersion } from "../../api/object.ts";
import type { Collection } from "../../client/resources.ts";
import type { ApiTransport } from "../../client/transport.ts";

export interface Discovered extends Collection {
  readonly verbs: readonly string[];
}

export interface Discovery {
  /** One row a collection, in its group's preferred version. */
  resources: Discovered[];
  /** Group versions whose documents could not be had: what they hold is not known. */
  failures: { groupVersion: string; error: unknown }[];
}

interface ResourceList {
  resources?: { name: string; kind: string; namespaced: boolean; verbs?: string[] }[];
}
interface GroupList {
  groups?: { name: string; preferredVersion?: { groupVersion: string }; versions?: { groupVersion: string }[] }[];
}

/** Asks for all groups, side by side. Throws when the list of groups itself can't be had. */
export async function discover(transport: ApiTransport): Promise<Discovery> {
  const groups = (await transport.raw("/apis")) as GroupList;
  const versions = ["v1"];
  for (const g of groups.groups ?? []) {
    const preferred = g.preferredVersion?.groupVersion ?? g.versions?.[0]?.groupVersion;
    if (preferred) versions.push(preferred);
  }
  const found: Discovery = { resources: [], failures: [] };
  const lists = await Promise.allSettled(
    versions.map((v) => transport.raw(v.includes("/") ? `/apis/${v}` : `/api/${v}`) as Promise<ResourceList>),
  );
  lists.forEach((result, i) => {
    const groupVersion = versions[i]!;
    if (result.status === "rejected") {
      found.failures.push({ groupVersion, error: result.reason });
      return;
    }
    for (const r of result.value.resources ?? []) {
      if (r.name.includes("/")) continue;
      const { group, version } = parseApiVersion(groupVersion);
      found.resources.push({ group, version, resource: r.name, kind: r.kind, namespaced: r.namespaced, verbs: r.verbs ?? [] });
    }
  });
  return found;
}
