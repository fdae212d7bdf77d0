// Resource names, requests and limits.
import type * as core from "../gen/core/v1.ts";
import { qualifiedName } from "../names.ts";
import { compareQuantity, toMilli } from "../quantity.ts";
import type { Errors } from "./errors.ts";

const STANDARD = ["cpu", "memory", "ephemeral-storage"];
const isHugePages = (name: string) => name.startsWith("hugepages-");
const isNative = (name: string) => !name.includes("/") || name.includes("kubernetes.io/");
/** Extended resources and huge pages come in whole units and can't be given out twice. */
const mayOvercommit = (name: string) => isNative(name) && !isHugePages(name);

function resourceName(name: string, field: string, errors: Errors): void {
  errors.names(field, name, qualifiedName(name));
  if (!name.includes("/") && !STANDARD.includes(name) && !isHugePages(name)) {
    errors.invalid(field, name, "must be a standard resource type or fully qualified");
  }
}

/** What a node says it has: pods count there too. */
export function nodeResources(list: Record<string, string> | undefined, field: string, errors: Errors): void {
  const { pods: _, ...rest } = list ?? {};
  resourceList(rest, field, errors);
}

export function resourceList(list: Record<string, string> | undefined, field: string, errors: Errors): void {
  for (const [name, quantity] of Object.entries(list ?? {})) {
    resourceName(name, `${field}[${name}]`, errors);
    if (compareQuantity(quantity, "0") < 0) errors.invalid(`${field}[${name}]`, quantity, "must be greater than or equal to 0");
    else if (!isNative(name) && toMilli(quantity) % 1000 !== 0) errors.invalid(`${field}[${name}]`, quantity, "must be an integer");
  }
}

export function requirements(r: core.ResourceRequirements | undefined, field: string, errors: Errors): void {
  if (!r) return;
  resourceList(r.limits, `${field}.limits`, errors);
  resourceList(r.requests, `${field}.requests`, errors);
  for (const [name, request] of Object.entries(r.requests ?? {})) {
    const limit = r.limits?.[name];
    const at = `${field}.requests`;
    if (limit === undefined) {
      if (!mayOvercommit(name)) errors.required(`${field}.limits`, `Limit must be set for non overcommitable resources`);
    } else if (!mayOvercommit(name) && compareQuantity(request, limit) !== 0) {
      errors.invalid(at, request, `must be equal to ${name} limit of ${limit}`);
    } else if (compareQuantity(request, limit) > 0) {
      errors.invalid(at, request, `must be less than or equal to ${name} limit of ${limit}`);
    }
  }
}
