// What configMap, secret, downwardAPI and projected volumes hold: pure
// functions from API objects to files.
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { type Allocatable, fieldValue, type PodAddresses, resourceValue } from "../pod/field-path.ts";
import type { Payload } from "./atomic-writer.ts";

export const defaultMode = 0o644;

export interface PayloadSources {
  /** Undefined when it does not exist. */
  configMap(name: string): coreV1.ConfigMap | undefined;
  secret(name: string): coreV1.Secret | undefined;
  /** A token for the pod's service account, by the path of its projection. */
  token(projection: coreV1.ServiceAccountTokenProjection): string;
  addresses: PodAddresses;
  allocatable: Allocatable;
}

/** A volume can't be filled. */
export class VolumeError extends Error {
  override name = "VolumeError";
}

function pick(
  payload: Payload,
  entries: ReadonlyMap<string, Buffer>,
  items: coreV1.KeyToPath[] | undefined,
  mode: number,
  optional: boolean | undefined,
  what: string,
): void {
  if (!items || items.length === 0) {
    for (const [key, data] of entries) payload.set(key, { data, mode });
    return;
  }
  for (const item of items) {
    const data = entries.get(item.key);
    if (data) payload.set(item.path, { data, mode: item.mode ?? mode });
    else if (!optional) throw new VolumeError(`references non-existent ${what} key: ${item.key}`);
  }
}

const base64 = (text: string) => Buffer.from(text, "base64");

interface Keyed {
  name?: string;
  items?: coreV1.KeyToPath[];
  optional?: boolean;
}

export function configMapFiles(payload: Payload, ref: Keyed, mode: number, sources: PayloadSources): void {
  const map = sources.configMap(ref.name ?? "");
  if (!map) {
    if (ref.optional) return;
    throw new VolumeError(`configmap ${JSON.stringify(ref.name)} not found`);
  }
  const entries = new Map<string, Buffer>();
  for (const [k, v] of Object.entries(map.data ?? {})) entries.set(k, Buffer.from(v));
  for (const [k, v] of Object.entries(map.binaryData ?? {})) entries.set(k, base64(v));
  pick(payload, entries, ref.items, mode, ref.optional, "config");
}

export function secretFiles(payload: Payload, ref: Keyed, mode: number, sources: PayloadSources): void {
  const secret = sources.secret(ref.name ?? "");
  if (!secret) {
    if (ref.optional) return;
    throw new VolumeError(`secret ${JSON.stringify(ref.name)} not found`);
  }
  const entries = new Map(Object.entries(secret.data ?? {}).map(([k, v]) => [k, base64(v)] as const));
  pick(payload, entries, ref.items, mode, ref.optional, "secret");
}

export function downwardFiles(
  payload: Payload,
  pod: coreV1.Pod,
  items: coreV1.DownwardAPIVolumeFile[] | undefined,
  mode: number,
  sources: PayloadSources,
): void {
  for (const item of items ?? []) {
    const text = item.fieldRef
      ? fieldValue(pod, item.fieldRef.fieldPath, sources.addresses)
      : item.resourceFieldRef
        ? resourceValue(pod, item.resourceFieldRef, undefined, sources.allocatable)
        : "";
    payload.set(item.path, { data: Buffer.from(text), mode: item.mode ?? mode });
  }
}

export function projectedFiles(payload: Payload, pod: coreV1.Pod, source: coreV1.ProjectedVolumeSource, sources: PayloadSources): void {
  const mode = source.defaultMode ?? defaultMode;
  // One user for all containers may own its token; otherwise everyone may read it.
  const users = new Set(
    [...(pod.spec.initContainers ?? []), ...pod.spec.containers].map(
      (c) => c.securityContext?.runAsUser ?? pod.spec.securityContext?.runAsUser,
    ),
  );
  const uid = users.size === 1 ? [...users][0] : undefined;
  for (const part of source.sources ?? []) {
    if (part.configMap) configMapFiles(payload, part.configMap, mode, sources);
    if (part.secret) secretFiles(payload, part.secret, mode, sources);
    if (part.downwardAPI) downwardFiles(payload, pod, part.downwardAPI.items, mode, sources);
    if (part.serviceAccountToken) {
      const tokenMode = pod.spec.securityContext?.fsGroup !== undefined || uid !== undefined ? 0o600 : mode;
      payload.set(part.serviceAccountToken.path, {
        data: Buffer.from(sources.token(part.serviceAccountToken)),
        mode: tokenMode,
        ...(uid === undefined ? {} : { uid }),
      });
    }
    if (part.clusterTrustBundle) {
      if (!part.clusterTrustBundle.optional) throw new VolumeError("clusterTrustBundle projections are not supported");
      payload.set(part.clusterTrustBundle.path, { data: Buffer.alloc(0), mode });
    }
    if (part.podCertificate) throw new VolumeError("podCertificate projections are not supported");
  }
}

/** Names of the API objects that a volume is made from. */
export function references(volume: coreV1.Volume): {
  configMaps: string[];
  secrets: string[];
  tokens: coreV1.ServiceAccountTokenProjection[];
} {
  const parts = volume.projected?.sources ?? [];
  const names = (list: (string | undefined)[]) => list.filter((n): n is string => n !== undefined && n !== "");
  return {
    configMaps: names([volume.configMap?.name, ...parts.map((p) => p.configMap?.name)]),
    secrets: names([volume.secret?.secretName, ...parts.map((p) => p.secret?.name)]),
    tokens: parts.map((p) => p.serviceAccountToken).filter((t) => t !== undefined),
  };
}
