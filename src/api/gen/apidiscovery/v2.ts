// Generated from proto/ by scripts/generate.ts. Do not edit.
import type * as metaV1 from "../meta/v1.ts";

export type ResourceScope = "Cluster" | "Namespaced" | (string & {});

export type DiscoveryFreshness = "Current" | "Stale" | (string & {});

export interface APIGroupDiscoveryList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: APIGroupDiscovery[];
}

export interface APIGroupDiscovery {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  versions?: APIVersionDiscovery[];
}

export interface APIVersionDiscovery {
  version: string;
  resources?: APIResourceDiscovery[];
  freshness?: DiscoveryFreshness;
}

export interface APIResourceDiscovery {
  resource: string;
  responseKind?: metaV1.GroupVersionKind;
  scope: ResourceScope;
  singularResource: string;
  verbs: string[];
  shortNames?: string[];
  categories?: string[];
  subresources?: APISubresourceDiscovery[];
}

export interface APISubresourceDiscovery {
  subresource: string;
  responseKind?: metaV1.GroupVersionKind;
  acceptedTypes?: metaV1.GroupVersionKind[];
  verbs: string[];
}
