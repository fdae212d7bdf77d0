// A kubelet on a runtime with an apiserver in memory, and what tests ask of it.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isNotFound } from "../../api/status.ts";
import { configMaps, coreEvents, nodes, pods, secrets } from "../../client/resources.ts";
import { type TestPki, testPki } from "../../testing/certificates.ts";
import { Kubelet } from "../kubelet.ts";
import type { KubeletOptions } from "../options.ts";
import { removeAllPods } from "../remove-all.ts";
import { KubeletTestApi } from "./api.ts";

/** A runtime of our own with the image below, gone without a trace at the end. */
export interface TestRuntime extends AsyncDisposable {
  dir: string;
  socket: string;
  cgroupRoot: string;
  /** First two octets of the pods' addresses. */
  prefix: string;
}

export const image = "kubun.test/busybox:1";
const namespace = "default";

/** Waits until `look` finds something. Throws with the last thing seen after `timeout` ms. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
  timeout = 60_000,
  tell?: () => unknown,
): Promise<T> {
  const deadline = Date.now() + timeout;
  for (;;) {
    const found = await look();
    if (found !== undefined && (found as unknown) !== false) return found;
    if (Date.now() > deadline) throw new Error(`not in time: ${what}${tell ? `; ${JSON.stringify(await tell(), null, 1)}` : ""}`);
    await Bun.sleep(5);
  }
}

export class TestNode implements AsyncDisposable {
  readonly api = new KubeletTestApi();
  readonly rootDir: string;
  /** Folder of static pods. */
  readonly manifests: string;
  readonly #runtime: TestRuntime;
  readonly #pki: TestPki;
  readonly #options: Partial<KubeletOptions>;
  kubelet!: Kubelet;

  private constructor(runtime: TestRuntime, pki: TestPki, options: Partial<KubeletOptions>) {
    this.#runtime = runtime;
    this.#pki = pki;
    this.#options = options;
    this.rootDir = join(runtime.dir, `kubelet-${Math.random().toString(36).slice(2, 8)}`);
    this.manifests = `${this.rootDir}-manifests`;
    mkdirSync(this.manifests);
  }

  static async start(runtime: TestRuntime, options: Partial<KubeletOptions> = {}): Promise<TestNode> {
    const node = new TestNode(runtime, await testPki(), options);
    await node.restart();
    return node;
  }

  /** Starts a kubelet; the one before it is stopped first, as if its process had ended. */
  async restart(): Promise<void> {
    await this.kubelet?.stop();
    this.kubelet = new Kubelet({
      transport: this.api,
      nodeName: "n1",
      nodeIP: "127.0.0.1",
      runtimeEndpoint: this.#runtime.socket,
      rootDir: this.rootDir,
      cgroupRoot: this.#runtime.cgroupRoot,
      clusterDns: ["10.96.0.10"],
      clusterDomain: "cluster.local",
      serving: { host: "127.0.0.1", port: 0, tls: { ...(await this.#pki.issue("n1")), clientCa: this.#pki.ca } },
      podManifestPath: this.manifests,
      ...this.#options,
    });
    await this.kubelet.start();
    await eventually("the node is ready", () => this.kubelet.notReady() === undefined || undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kubelet.stop();
    await removeAllPods({ rootDir: this.rootDir, runtimeEndpoint: this.#runtime.socket });
  }

  async clientTls(group = "system:masters") {
    return { ca: this.#pki.ca, ...(await this.#pki.issue("client", group)) };
  }

  url(path: string): string {
    return `${this.kubelet.address}${path}`;
  }

  /** GET of the kubelet's API. */
  async get(path: string, group?: string): Promise<Response> {
    return fetch(this.url(path), { tls: await this.clientTls(group) });
  }

  node(): Promise<coreV1.Node> {
    return this.api.get<coreV1.Node>({ ...nodes, name: "n1" });
  }

  configMap(name: string, data: Record<string, string>): Promise<unknown> {
    return this.api.create({ ...configMaps, namespace }, { metadata: { name }, data });
  }

  secret(name: string, data: Record<string, string>): Promise<unknown> {
    const encoded = Object.fromEntries(Object.entries(data).map(([k, v]) => [k, Buffer.from(v).toString("base64")]));
    return this.api.create({ ...secrets, namespace }, { metadata: { name }, data: encoded });
  }

  /** Binds a pod of one container, which runs a shell script, to the node. */
  async run(
    name: string,
    script: string,
    container: Partial<coreV1.Container> = {},
    spec: Partial<coreV1.PodSpec> = {},
    metadata: Partial<coreV1.Pod["metadata"]> = {},
  ): Promise<coreV1.Pod> {
    const pod: coreV1.Pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, ...metadata },
      spec: {
        nodeName: "n1",
        restartPolicy: "Always",
        terminationGracePeriodSeconds: 1,
        dnsPolicy: "ClusterFirst",
        ...spec,
        containers: [
          {
            name: "c",
            image,
            imagePullPolicy: "IfNotPresent",
            command: ["sh", "-c", script],
            terminationMessagePath: "/dev/termination-log",
            ...container,
          },
          ...(spec.containers ?? []),
        ],
      },
    };
    return this.api.create<coreV1.Pod>({ ...pods, namespace }, pod);
  }

  pod(name: string): Promise<coreV1.Pod> {
    return this.api.get<coreV1.Pod>({ ...pods, namespace, name });
  }

  /** Waits until a pod is as `test` says. */
  until(name: string, what: string, test: (pod: coreV1.Pod) => unknown, timeout?: number): Promise<coreV1.Pod> {
    return eventually(
      `${name} ${what}`,
      async () => {
        const pod = await this.pod(name);
        return test(pod) ? pod : undefined;
      },
      timeout,
      async () => [(await this.pod(name)).status, await this.events(name)],
    );
  }

  ready(name: string, timeout?: number): Promise<coreV1.Pod> {
    return this.until(name, "is ready", (p) => p.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True"), timeout);
  }

  ended(name: string): Promise<coreV1.Pod> {
    return this.until(name, "has ended", (p) => p.status?.phase === "Succeeded" || p.status?.phase === "Failed");
  }

  async delete(name: string): Promise<void> {
    await this.api.delete({ ...pods, namespace, name });
  }

  gone(name: string): Promise<unknown> {
    return eventually(
      `${name} is gone`,
      () =>
        this.pod(name).then(
          () => undefined,
          (error: unknown) => isNotFound(error) || undefined,
        ),
      undefined,
      () => this.pod(name),
    );
  }

  async logs(name: string, query = "", container = "c"): Promise<string> {
    const answer = await this.get(`/containerLogs/${namespace}/${name}/${container}${query}`);
    return answer.text();
  }

  /** The events about a pod, as "Reason: message". */
  async events(name: string): Promise<string[]> {
    const list = await this.api.list<coreV1.Event>(coreEvents);
    return list.items.filter((e) => e.involvedObject.name === name).map((e) => `${e.reason}: ${e.message}`);
  }
}

export const container = (pod: coreV1.Pod, name = "c"): coreV1.ContainerStatus =>
  [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])].find((s) => s.name === name)!;
