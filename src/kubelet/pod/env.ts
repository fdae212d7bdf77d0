// The environment of a container (upstream's makeEnvironmentVariables).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isNotFound } from "../../api/status.ts";
import { expand } from "./expand.ts";
import { type Allocatable, fieldValue, type PodAddresses, resourceValue } from "./field-path.ts";

/** A container can't be made because of what its spec refers to. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

export interface EnvSources {
  configMap(name: string): Promise<coreV1.ConfigMap>;
  secret(name: string): Promise<coreV1.Secret>;
  addresses: PodAddresses;
  allocatable: Allocatable;
  services: Record<string, string>;
}

export const decodeBase64 = (text: string): Buffer => Buffer.from(text, "base64");

async function found<T>(get: Promise<T>, optional: boolean | undefined): Promise<T | undefined> {
  try {
    return await get;
  } catch (error) {
    if (optional && isNotFound(error)) return undefined;
    throw error instanceof Error ? new ConfigError(error.message, { cause: error }) : error;
  }
}

function configMapEntries(map: coreV1.ConfigMap): [string, string][] {
  return Object.entries(map.data ?? {});
}

const secretEntries = (secret: coreV1.Secret): [string, string][] =>
  Object.entries(secret.data ?? {}).map(([k, v]) => [k, decodeBase64(v).toString("utf8")]);

async function refValue(
  pod: coreV1.Pod,
  container: coreV1.Container,
  from: coreV1.EnvVarSource,
  sources: EnvSources,
): Promise<string | undefined> {
  if (from.fieldRef) return fieldValue(pod, from.fieldRef.fieldPath, sources.addresses);
  if (from.resourceFieldRef) return resourceValue(pod, from.resourceFieldRef, container.name, sources.allocatable);
  if (from.configMapKeyRef) {
    const { name = "", key, optional } = from.configMapKeyRef;
    const map = await found(sources.configMap(name), optional);
    const value = map?.data?.[key];
    if (value === undefined && !optional) throw new ConfigError(`couldn't find key ${key} in ConfigMap ${pod.metadata.namespace}/${name}`);
    return value;
  }
  if (from.secretKeyRef) {
    const { name = "", key, optional } = from.secretKeyRef;
    const secret = await found(sources.secret(name), optional);
    const value = secret?.data?.[key];
    if (value === undefined && !optional) throw new ConfigError(`couldn't find key ${key} in Secret ${pod.metadata.namespace}/${name}`);
    return value === undefined ? undefined : decodeBase64(value).toString("utf8");
  }
  throw new ConfigError("environment variable has an unsupported source");
}

/** The variables in the order in which they are defined. Throws ConfigError. */
export async function environment(pod: coreV1.Pod, container: coreV1.Container, sources: EnvSources): Promise<Map<string, string>> {
  const env = new Map<string, string>();
  for (const from of container.envFrom ?? []) {
    let entries: [string, string][] = [];
    if (from.configMapRef) {
      const map = await found(sources.configMap(from.configMapRef.name ?? ""), from.configMapRef.optional);
      if (map) entries = configMapEntries(map);
    } else if (from.secretRef) {
      const secret = await found(sources.secret(from.secretRef.name ?? ""), from.secretRef.optional);
      if (secret) entries = secretEntries(secret);
    }
    for (const [k, v] of entries) env.set(`${from.prefix ?? ""}${k}`, v);
  }
  const lookup = (name: string) => env.get(name) ?? sources.services[name];
  for (const v of container.env ?? []) {
    if (v.valueFrom) {
      const value = await refValue(pod, container, v.valueFrom, sources);
      if (value !== undefined) env.set(v.name, value);
    } else env.set(v.name, expand(v.value ?? "", lookup));
  }
  for (const [k, v] of Object.entries(sources.services)) if (!env.has(k)) env.set(k, v);
  return env;
}
