// The options that stand in a request's query.
import { badRequest, invalid } from "../../api/status.ts";
import type { ListOptions, WatchOptions } from "../../client/transport.ts";
import type { DeleteOptions } from "../registry/delete.ts";

const isTrue = (value: string | null): boolean => value !== null && value !== "false" && value !== "0";

function integer(q: URLSearchParams, name: string): number | undefined {
  const text = q.get(name);
  if (text === null || text === "") return undefined;
  if (!/^-?\d+$/.test(text)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  return Number(text);
}

const optional = <K extends string, V>(key: K, value: V | undefined | null) =>
  value === undefined || value === null ? {} : ({ [key]: value } as Record<K, V>);

export const wantsWatch = (q: URLSearchParams): boolean => isTrue(q.get("watch"));

export function listOptions(q: URLSearchParams): ListOptions {
  return {
    ...optional("labelSelector", q.get("labelSelector")),
    ...optional("fieldSelector", q.get("fieldSelector")),
    ...optional("resourceVersion", q.get("resourceVersion")),
    ...optional("resourceVersionMatch", versionMatch(q)),
    ...optional("limit", integer(q, "limit")),
    ...optional("continue", q.get("continue")),
  };
}

export function watchOptions(q: URLSearchParams): WatchOptions {
  const initial = q.get("sendInitialEvents");
  return {
    ...optional("labelSelector", q.get("labelSelector")),
    ...optional("fieldSelector", q.get("fieldSelector")),
    ...optional("resourceVersion", q.get("resourceVersion")),
    ...optional("resourceVersionMatch", versionMatch(q) as "NotOlderThan" | undefined),
    ...optional("timeoutSeconds", integer(q, "timeoutSeconds")),
    ...(isTrue(q.get("allowWatchBookmarks")) ? { allowWatchBookmarks: true } : {}),
    ...(initial === null ? {} : { sendInitialEvents: isTrue(initial) }),
  };
}

function versionMatch(q: URLSearchParams): "Exact" | "NotOlderThan" | undefined {
  const text = q.get("resourceVersionMatch");
  if (text === null || text === "") return undefined;
  if (text !== "Exact" && text !== "NotOlderThan")
    throw invalid({ group: "meta.k8s.io", kind: "ListOptions" }, "", [
      {
        reason: "FieldValueNotSupported",
        field: "resourceVersionMatch",
        message: `Unsupported value: ${JSON.stringify(text)}: supported values: "Exact", "NotOlderThan", ""`,
      },
    ]);
  return text;
}

/** DeleteOptions of the query, where the body has none. */
export function deleteOptions(q: URLSearchParams): DeleteOptions {
  const orphan = q.get("orphanDependents");
  return {
    ...optional("gracePeriodSeconds", integer(q, "gracePeriodSeconds")),
    ...optional("propagationPolicy", q.get("propagationPolicy")),
    ...(orphan === null ? {} : { orphanDependents: isTrue(orphan) }),
  };
}

export function dryRun(values: readonly string[]): boolean {
  for (const v of values)
    if (v !== "All" && v !== "") throw badRequest(`dryRun: Unsupported value: ${JSON.stringify(v)}: supported values: "All"`);
  return values.includes("All");
}

const validations = ["", "Ignore", "Warn", "Strict"];

/** How unknown and doubled fields are taken; Warn unless the request says otherwise. */
export function fieldValidation(q: URLSearchParams): "Ignore" | "Warn" | "Strict" {
  const text = q.get("fieldValidation") ?? "";
  if (!validations.includes(text))
    throw invalid({ group: "meta.k8s.io", kind: "CreateOptions" }, "", [
      {
        reason: "FieldValueNotSupported",
        field: "fieldValidation",
        message: `Unsupported value: ${JSON.stringify(text)}: supported values: "", "Ignore", "Strict", "Warn"`,
      },
    ]);
  return (text || "Warn") as "Ignore" | "Warn" | "Strict";
}
