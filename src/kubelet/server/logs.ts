// GET /containerLogs/{namespace}/{pod}/{container}
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type { PodContext } from "../pod/context.ts";
import type { PodManager } from "../pods.ts";
import { HttpError, type Reply } from "./http.ts";
import { type LogOptions, readLog } from "./log-reader.ts";

const flag = (q: URLSearchParams, name: string) => /^(1|true)$/i.test(q.get(name) ?? "");

function count(q: URLSearchParams, name: string): number | undefined {
  const text = q.get(name);
  if (text === null || text === "") return undefined;
  const n = Number(text);
  if (!Number.isSafeInteger(n) || n < 0) throw new HttpError(422, `invalid ${name}: ${JSON.stringify(text)}`);
  return n;
}

/** The options of a request. Throws HttpError 422. */
export function logOptions(q: URLSearchParams, now: number): LogOptions & { previous: boolean } {
  const seconds = count(q, "sinceSeconds");
  const time = q.get("sinceTime");
  const since = seconds !== undefined ? now - seconds * 1000 : time ? Date.parse(time) : undefined;
  if (since !== undefined && Number.isNaN(since)) throw new HttpError(422, `invalid sinceTime: ${JSON.stringify(time)}`);
  const tail = q.get("tailLines") ?? q.get("tail");
  const stream = q.get("stream")?.toLowerCase();
  return {
    previous: flag(q, "previous"),
    follow: flag(q, "follow"),
    timestamps: flag(q, "timestamps"),
    ...(tail && tail !== "all" ? { tail: count(q, q.has("tailLines") ? "tailLines" : "tail") } : {}),
    ...(since === undefined ? {} : { since }),
    limitBytes: count(q, "limitBytes"),
    ...(stream === "stdout" || stream === "stderr" ? { stream } : {}),
  };
}

/** The container whose log is meant. Throws HttpError 400 in upstream's words. */
export function containerForLogs(pod: coreV1.Pod, name: string, previous: boolean): string {
  const podName = pod.metadata.name;
  const s = pod.status;
  const status = [...(s?.containerStatuses ?? []), ...(s?.initContainerStatuses ?? []), ...(s?.ephemeralContainerStatuses ?? [])].find(
    (c) => c.name === name,
  );
  const refuse = (text: string) => new HttpError(400, text);
  if (!status) throw refuse(`container ${JSON.stringify(name)} in pod ${JSON.stringify(podName)} is not available`);
  const { waiting, running, terminated } = status.state ?? {};
  const last = status.lastState?.terminated;
  const where = `container ${JSON.stringify(name)} in pod ${JSON.stringify(podName)}`;
  let id: string | undefined;
  if (previous) {
    if (!last?.containerID) throw refuse(`previous terminated ${where} not found`);
    id = last.containerID;
  } else if (running) id = status.containerID;
  else if (terminated?.containerID) id = terminated.containerID;
  else if (last?.containerID) id = last.containerID;
  else if (terminated || last) throw refuse(`${where} is terminated`);
  else if (waiting?.reason === "ErrImagePull") throw refuse(`${where} is waiting to start: image can't be pulled`);
  else if (waiting?.reason === "ImagePullBackOff") throw refuse(`${where} is waiting to start: trying and failing to pull image`);
  else throw refuse(`${where} is waiting to start: ${waiting?.reason ?? "no logs yet"}`);
  return id!.replace(/^.*:\/\//, "");
}

export async function containerLogs(
  context: PodContext,
  pods: PodManager,
  [namespace = "", name = "", container = ""]: string[],
  query: URLSearchParams,
  reply: Reply,
): Promise<void> {
  const pod = pods.find(namespace, name);
  if (!pod) throw new HttpError(404, `pod ${JSON.stringify(name)} does not exist`);
  const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? []), ...(pod.spec.ephemeralContainers ?? [])];
  if (!all.some((c) => c.name === container))
    throw new HttpError(404, `container ${JSON.stringify(container)} not found in pod ${JSON.stringify(name)}`);
  const options = logOptions(query, Date.now());
  const id = containerForLogs(pod, container, options.previous);
  const uid = pod.metadata.uid!;
  const find = () => context.pleg.get(uid).containers.find((c) => c.id === id);
  const path = find()?.logPath;
  if (!path) throw new HttpError(400, `unable to retrieve container logs for ${context.runtimeName}://${id}`);
  const source = { path, running: () => find()?.state === "running", onChange: (fn: () => void) => pods.onRuntimeChange(uid, fn) };
  reply.begin(200, "text/plain");
  try {
    for await (const chunk of readLog(source, options, reply.signal)) await reply.write(chunk);
  } catch (error) {
    // The log of a container that was just removed has no more to say.
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  reply.end();
}
