// Pods from files (upstream's staticPodPath): each runs as long as its file is
// there, and shows in the API as a mirror pod that nothing but the kubelet acts
// upon.
import { createHash } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { deepFreeze } from "../../api/equal.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isAlreadyExists, isNotFound } from "../../api/status.ts";
import { pods } from "../../client/resources.ts";
import type { ApiTransport } from "../../client/transport.ts";
import type { Logger } from "../../platform/log.ts";
import { configHashAnnotation, configMirrorAnnotation, configSourceAnnotation } from "../pod/labels.ts";

/** The file is read this often even when no change was noticed, in milliseconds. */
const rereadPeriod = 20_000;
/** Editors write in several steps. */
const settle = 20;

/** Makes the pod of this node from what a file says. Throws an Error for what is no pod. */
export function staticPod(object: unknown, nodeName: string, file: string): coreV1.Pod {
  const pod = object as Partial<coreV1.Pod> | null;
  if (pod?.kind !== "Pod" || pod.apiVersion !== "v1" || !pod.metadata?.name || !pod.spec?.containers?.length)
    throw new Error(`${file} does not describe a v1 Pod with a name and containers`);
  const uid = createHash("md5").update(`host:${nodeName}file:${file}`).update(JSON.stringify(pod)).digest("hex");
  const container = <C extends coreV1.Container>(c: C): C => ({
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "File",
    imagePullPolicy: /(^|\/)[^:@/]+$|:latest$/.test(c.image ?? "") ? "Always" : "IfNotPresent",
    ...c,
  });
  return deepFreeze({
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...pod.metadata,
      name: `${pod.metadata.name}-${nodeName.toLowerCase()}`,
      namespace: pod.metadata.namespace ?? "default",
      uid: pod.metadata.uid ?? uid,
      annotations: {
        ...pod.metadata.annotations,
        [configHashAnnotation]: uid,
        [configSourceAnnotation]: "file",
        "kubernetes.io/config.seen": new Date().toISOString(),
      },
    },
    spec: {
      restartPolicy: "Always",
      dnsPolicy: "ClusterFirst",
      terminationGracePeriodSeconds: 30,
      enableServiceLinks: true,
      ...pod.spec,
      containers: pod.spec.containers.map(container),
      ...(pod.spec.initContainers ? { initContainers: pod.spec.initContainers.map(container) } : {}),
      tolerations: [...(pod.spec.tolerations ?? []), { operator: "Exists", effect: "NoExecute" }],
      nodeName,
    },
  } satisfies coreV1.Pod);
}

export interface StaticPodsOptions {
  path: string;
  nodeName: string;
  put(pod: coreV1.Pod): void;
  delete(pod: coreV1.Pod): void;
  log: Logger;
}

export class StaticPods {
  readonly #o: StaticPodsOptions;
  #present = new Map<string, coreV1.Pod>();
  #watcher: FSWatcher | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #reading: Promise<void> = Promise.resolve();

  constructor(options: StaticPodsOptions) {
    this.#o = options;
  }

  /** Resolves when the files that are there have been read. */
  async start(): Promise<void> {
    await this.#read();
    try {
      this.#watcher = watch(this.#o.path, () => this.#soon(settle));
    } catch (error) {
      this.#o.log.warn("Can't watch static pods; they are read from time to time", { path: this.#o.path, err: error });
    }
    this.#soon(rereadPeriod);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#watcher?.close();
    this.#soon = () => {};
  }

  #soon = (ms: number): void => {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#reading = this.#reading.then(() => this.#read()).finally(() => this.#soon(rereadPeriod));
    }, ms);
    this.#timer.unref?.();
  };

  async #files(): Promise<string[]> {
    const found = await stat(this.#o.path).catch(() => undefined);
    if (!found) return [];
    if (!found.isDirectory()) return [this.#o.path];
    return (await readdir(this.#o.path)).filter((f) => !f.startsWith(".")).map((f) => join(this.#o.path, f));
  }

  async #read(): Promise<void> {
    const next = new Map<string, coreV1.Pod>();
    for (const file of await this.#files()) {
      try {
        for (const document of parseAllDocuments(await readFile(file, "utf8"))) {
          if ("errors" in document && document.errors.length > 0) throw document.errors[0];
          const pod = staticPod((document as { toJS(): unknown }).toJS(), this.#o.nodeName, file);
          next.set(pod.metadata.uid!, this.#present.get(pod.metadata.uid!) ?? pod);
        }
      } catch (error) {
        this.#o.log.error("Can't read a static pod", error, { file });
      }
    }
    for (const [uid, pod] of this.#present) if (!next.has(uid)) this.#o.delete(pod);
    for (const [uid, pod] of next) if (!this.#present.has(uid)) this.#o.put(pod);
    this.#present = next;
  }
}

/** Shows static pods in the API; what it answers is whether nothing is left to be done. */
export class MirrorPods {
  readonly #transport: ApiTransport;
  readonly #nodeUid: () => string | undefined;
  readonly #log: Logger;

  constructor(transport: ApiTransport, nodeUid: () => string | undefined, log: Logger) {
    this.#transport = transport;
    this.#nodeUid = nodeUid;
    this.#log = log;
  }

  async create(pod: coreV1.Pod, nodeName: string): Promise<boolean> {
    const { uid: _, ...metadata } = pod.metadata;
    const owner = this.#nodeUid();
    const mirror = {
      ...pod,
      metadata: {
        ...metadata,
        annotations: { ...metadata.annotations, [configMirrorAnnotation]: metadata.annotations?.[configHashAnnotation] },
        ...(owner ? { ownerReferences: [{ apiVersion: "v1", kind: "Node", name: nodeName, uid: owner, controller: true }] } : {}),
      },
      status: undefined,
    };
    try {
      await this.#transport.create({ ...pods, namespace: metadata.namespace! }, mirror);
    } catch (error) {
      if (isAlreadyExists(error)) return true;
      this.#log.warn("Failed creating a mirror pod", { pod: `${metadata.namespace}/${metadata.name}`, err: error });
      return false;
    }
    return true;
  }

  async delete(mirror: coreV1.Pod): Promise<boolean> {
    const { namespace, name, uid } = mirror.metadata;
    try {
      await this.#transport.delete({ ...pods, namespace: namespace!, name: name! }, { gracePeriodSeconds: 0, preconditions: { uid } });
    } catch (error) {
      if (isNotFound(error)) return true;
      this.#log.warn("Failed deleting a mirror pod", { pod: `${namespace}/${name}`, err: error });
      return false;
    }
    return true;
  }
}
