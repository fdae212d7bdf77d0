import { deepEqual } from "../../api/equal.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type { Informer } from "../../client/informer.ts";
import { keyOf } from "../../client/resources.ts";
import { matchesLabels } from "../../client/selector.ts";
import { endpointChanged } from "./endpoints.ts";

/** Calls `add` with each Service that a pod's change concerns: those it was behind, and those it is behind now. */
export function wakeServices(pods: Informer<coreV1.Pod>, services: Informer<coreV1.Service>, add: (key: string) => void): void {
  const wake = (pod: coreV1.Pod) => {
    for (const service of services.lister.list(pod.metadata.namespace))
      if (matchesLabels(service.spec?.selector, pod.metadata.labels)) add(keyOf(service));
  };
  pods.on({
    add: wake,
    update: (before, after) => {
      const relabeled = !deepEqual(before.metadata.labels, after.metadata.labels);
      if (relabeled) wake(before);
      if (relabeled || endpointChanged(before, after)) wake(after);
    },
    delete: wake,
  });
}
