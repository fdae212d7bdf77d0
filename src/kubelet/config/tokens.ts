// Tokens of service accounts for pods (TokenRequest API): asked for once, kept,
// and renewed when a fifth of their time is left or they are a day old.
import type * as authenticationV1 from "../../api/gen/authentication/v1.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { serviceAccounts } from "../../client/resources.ts";
import type { ApiTransport } from "../../client/transport.ts";

interface Entry {
  token: string;
  /** Milliseconds since the epoch. */
  renewAt: number;
  expires: number;
}

const day = 86_400_000;
const defaultSeconds = 3600;

export class TokenManager {
  readonly #transport: ApiTransport;
  readonly #now: () => number;
  readonly #entries = new Map<string, Promise<Entry>>();

  constructor(transport: ApiTransport, now: () => number = Date.now) {
    this.#transport = transport;
    this.#now = now;
  }

  /** A token that holds; throws StatusError when the apiserver refuses one. */
  async get(pod: coreV1.Pod, projection: coreV1.ServiceAccountTokenProjection): Promise<Entry> {
    const key = this.#key(pod, projection);
    const known = this.#entries.get(key);
    if (known) {
      const entry = await known.catch(() => undefined);
      if (entry && this.#now() < entry.renewAt) return entry;
      // A renewal that fails leaves the old one, while it holds.
      if (entry && this.#now() < entry.expires) {
        try {
          return await this.#request(key, pod, projection);
        } catch {
          this.#entries.set(key, known);
          return { ...entry, renewAt: this.#now() + 10_000 };
        }
      }
    }
    return this.#request(key, pod, projection);
  }

  forget(podUid: string): void {
    for (const key of this.#entries.keys()) if (key.startsWith(`${podUid}/`)) this.#entries.delete(key);
  }

  #key(pod: coreV1.Pod, p: coreV1.ServiceAccountTokenProjection): string {
    return `${pod.metadata.uid}/${pod.spec.serviceAccountName ?? "default"}/${p.audience ?? ""}/${p.expirationSeconds ?? defaultSeconds}`;
  }

  #request(key: string, pod: coreV1.Pod, p: coreV1.ServiceAccountTokenProjection): Promise<Entry> {
    const asked = this.#ask(pod, p);
    this.#entries.set(key, asked);
    asked.catch(() => {
      if (this.#entries.get(key) === asked) this.#entries.delete(key);
    });
    return asked;
  }

  async #ask(pod: coreV1.Pod, p: coreV1.ServiceAccountTokenProjection): Promise<Entry> {
    const request: authenticationV1.TokenRequest = {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      metadata: {},
      spec: {
        audiences: p.audience ? [p.audience] : [],
        expirationSeconds: p.expirationSeconds ?? defaultSeconds,
        boundObjectRef: { kind: "Pod", apiVersion: "v1", name: pod.metadata.name, uid: pod.metadata.uid },
      },
    };
    const name = pod.spec.serviceAccountName ?? "default";
    const begun = this.#now();
    const answer = await this.#transport.create<authenticationV1.TokenRequest>(
      { ...serviceAccounts, namespace: pod.metadata.namespace, name, subresource: "token" },
      request,
    );
    if (!answer.status) throw new Error(`the apiserver gave no token for service account ${pod.metadata.namespace}/${name}`);
    const expires = Date.parse(answer.status.expirationTimestamp);
    return { token: answer.status.token, expires, renewAt: Math.min(begun + (expires - begun) * 0.8, begun + day) };
  }
}
