// Admission: what is changed in, or refused of, a request that is allowed and
// well formed, before it is stored.
import type { AdmissionPlugin, AdmissionRequest, AdmissionSource } from "./admission.ts";
import { namespaceLifecycle } from "./namespace-lifecycle.ts";
import { defaultTolerationSeconds, priority, runtimeClass } from "./pods.ts";
import { serviceAccount } from "./service-account.ts";

export type { AdmissionRequest, AdmissionSource } from "./admission.ts";

/** In upstream's order. */
const plugins: readonly AdmissionPlugin[] = [namespaceLifecycle, serviceAccount, priority, defaultTolerationSeconds, runtimeClass];

export class Admission {
  readonly #source: AdmissionSource;

  constructor(source: AdmissionSource) {
    this.#source = source;
  }

  /** Changes `request.object` in place. Throws a StatusError to refuse. */
  async admit(request: AdmissionRequest): Promise<void> {
    for (const plugin of plugins) {
      const wait = plugin.admit(request, this.#source);
      if (wait) await wait;
    }
  }
}
