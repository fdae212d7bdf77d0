// The ConfigMaps and Secrets that pods of this node refer to: each watched by
// itself while a pod uses it (upstream's watch-based manager), so that the
// kubelet needs no right to list all of them and a change arrives at once.
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import { notFound } from "../../api/status.ts";
import { Informer } from "../../client/informer.ts";
import { type Collection, configMaps, secrets } from "../../client/resources.ts";
import type { ApiTransport } from "../../client/transport.ts";

interface Entry {
  informer: Informer<KubeObject>;
  users: Set<string>;
}

/** How long the first look at an object may take, in milliseconds. */
const firstLook = 30_000;

export class ObjectCache {
  readonly #transport: ApiTransport;
  readonly #changed: (podUid: string) => void;
  readonly #entries = new Map<string, Entry>();

  /** `changed` is called for each pod that uses an object that changed. */
  constructor(transport: ApiTransport, changed: (podUid: string) => void) {
    this.#transport = transport;
    this.#changed = changed;
  }

  /** Throws StatusError NotFound when there is none. */
  configMap(pod: coreV1.Pod, name: string): Promise<coreV1.ConfigMap> {
    return this.#get(configMaps, pod, name);
  }

  secret(pod: coreV1.Pod, name: string): Promise<coreV1.Secret> {
    return this.#get(secrets, pod, name);
  }

  async #get<T extends KubeObject>(of: Collection<T>, pod: coreV1.Pod, name: string): Promise<T> {
    const namespace = pod.metadata.namespace ?? "";
    const key = `${of.resource}/${namespace}/${name}`;
    let entry = this.#entries.get(key);
    if (!entry) {
      const users = new Set<string>();
      const informer = new Informer<KubeObject>(this.#transport, of, { namespace, fieldSelector: `metadata.name=${name}` });
      entry = { informer, users };
      this.#entries.set(key, entry);
      const tell = () => {
        for (const uid of users) this.#changed(uid);
      };
      informer.on({ add: (_, initial) => initial || tell(), update: tell, delete: tell });
      informer.start();
    }
    entry.users.add(pod.metadata.uid ?? "");
    if (!entry.informer.hasSynced) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`failed to sync ${of.resource} cache: timed out waiting for the condition`)), firstLook);
      });
      await Promise.race([entry.informer.synced, late]).finally(() => clearTimeout(timer));
    }
    const object = entry.informer.lister.get(`${namespace}/${name}`);
    // As upstream's kubelet says it: in the singular, whatever the apiserver's own answer would be.
    if (!object) throw notFound({ group: of.group, resource: of.resource.replace(/s$/, "") }, name);
    return object as T;
  }

  /** A pod is gone: what only it used is watched no longer. */
  release(podUid: string): void {
    for (const [key, entry] of this.#entries) {
      if (!entry.users.delete(podUid) || entry.users.size > 0) continue;
      this.#entries.delete(key);
      void entry.informer.stop();
    }
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#entries.values()].map((e) => e.informer.stop()));
    this.#entries.clear();
  }
}
