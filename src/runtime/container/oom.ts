// Without CAP_SYS_RESOURCE nobody may lower an oom_score_adj below the lowest
// that he was ever given (proc(5)).
import { readFileSync } from "node:fs";
import type { Logger } from "../../platform/log.ts";
import { ownCapabilities } from "../oci/capabilities.ts";

let warned = false;

/** The lowest value that containers can get; undefined if any. Warns once. */
export function oomScoreFloor(log: Logger): number | undefined {
  if (ownCapabilities().has("CAP_SYS_RESOURCE")) return undefined;
  const own = Number(readFileSync("/proc/self/oom_score_adj", "utf8"));
  if (!warned) {
    warned = true;
    log.warn("Containers can't be protected from the OOM killer: CAP_SYS_RESOURCE is missing", { lowestOOMScoreAdj: own });
  }
  return own;
}
