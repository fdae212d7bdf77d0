import type { KubeObject } from "../../api/object.ts";
import { Entry } from "../storage/entry.ts";

/** A Status that says yes. `code` is the answer's HTTP code. */
export function success(code: number, details?: object): Entry {
  const status = {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
    ...(details ? { details } : {}),
    ...(code ? { code } : {}),
  };
  return new Entry("", 0, status as unknown as KubeObject);
}
