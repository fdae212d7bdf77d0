// Where a resource lives in the REST API
// (https://kubernetes.io/docs/reference/using-api/api-concepts/).
import type { Target } from "./transport.ts";

/** "/apis/apps/v1/namespaces/default/deployments/web/status". */
export function pathOf(target: Target): string {
  let path = target.group === "" ? `/api/${target.version}` : `/apis/${target.group}/${target.version}`;
  if (target.namespace) path += `/namespaces/${encodeURIComponent(target.namespace)}`;
  path += `/${target.resource}`;
  if (target.name) path += `/${encodeURIComponent(target.name)}`;
  if (target.subresource) path += `/${target.subresource}`;
  return path;
}

/** A query string with its "?", or "" when nothing is set. */
export function queryOf(values: Record<string, string | number | boolean | undefined>): string {
  const query = new URLSearchParams();
  for (const [k, v] of Object.entries(values)) if (v !== undefined && v !== "" && v !== false) query.set(k, String(v));
  const text = query.toString();
  return text && `?${text}`;
}
