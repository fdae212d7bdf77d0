// The apiserver in memory with what a kubelet needs besides: strategic patches,
// tokens of service accounts, access reviews and grace periods.
import type * as authenticationV1 from "../../api/gen/authentication/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import { applyStrategicMergePatch } from "../../api/patch/strategic.ts";
import type { PatchType, Target } from "../../client/transport.ts";
import { MemoryApi } from "../../testing/memory-api.ts";

const names: Record<string, string> = {
  pods: "k8s.io.api.core.v1.Pod",
  nodes: "k8s.io.api.core.v1.Node",
  events: "k8s.io.api.core.v1.Event",
};

export class KubeletTestApi extends MemoryApi {
  tokens = 0;
  /** Seconds that tokens hold. */
  tokenSeconds = 3600;

  override async patch<T>(target: Target & { name: string }, type: PatchType, patch: unknown): Promise<T> {
    const name = names[target.resource];
    if (type !== "strategic" || !name) return super.patch(target, type, patch);
    const present = await this.get<KubeObject>(target);
    return super.update<T>(target, applyStrategicMergePatch(present, patch, name) as object);
  }

  override async create<T>(target: Target, object: object): Promise<T> {
    if (target.subresource === "token") {
      const request = object as authenticationV1.TokenRequest;
      const expires = new Date(Date.now() + this.tokenSeconds * 1000).toISOString();
      return { ...request, status: { token: `token-${++this.tokens}-for-${target.name}`, expirationTimestamp: expires } } as T;
    }
    if (target.resource === "subjectaccessreviews") return { ...object, status: { allowed: false } } as T;
    return super.create(target, object);
  }
}
