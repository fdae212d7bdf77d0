// Attaching to a container that takes input once, without losing what it wrote
// before the client came: output is followed in the container's log from its
// beginning, and the runtime's own attach carries the input.
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type { ExecSession, RemoteCommand, Sink, Upgrade } from "../../rpc/remotecommand/mod.ts";
import { rpcMessage } from "../cri/client.ts";
import type { PodContext } from "../pod/context.ts";
import type { RuntimeContainer } from "../pod/runtime-pod.ts";
import type { PodManager } from "../pods.ts";
import { AttachedOutput } from "./attached-output.ts";
import { HttpError } from "./http.ts";
import { parseLogLines } from "./log-format.ts";
import { logLines } from "./log-reader.ts";

/** Milliseconds after which a newline goes out though the runtime's attach has not shown it: its line is older than that. */
const newlineDelay = 30;
/** Milliseconds that the log of an ended container has to show what the runtime's attach has shown. */
const drainTime = 500;

/** Whether attaching to a container begins with what it has already written. */
export function attachesFromStart(pod: coreV1.Pod, name: string): boolean {
  const c = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].find((x) => x.name === name);
  return Boolean(c?.stdin && c.stdinOnce && !c.tty);
}

export interface AttachInput {
  context: PodContext;
  pods: PodManager;
  uid: string;
  container: RuntimeContainer;
  upgrade: Upgrade;
}

/** Serves an attach from the container's beginning to its end. Throws HttpError before the upgrade is accepted. */
export async function attachFromStart(input: AttachInput): Promise<void> {
  const { acceptExec, execStreams, failureStatus, SUCCESS } = await import("../../rpc/remotecommand/mod.ts");
  const streams = execStreams(new URL(input.upgrade.request.url ?? "/", "http://localhost").searchParams);
  const url = await runtimeAttach(input);
  const session = await acceptExec(input.upgrade, streams);
  if (!session) return;
  try {
    await new Attachment(input, session).run(url);
    session.finish(SUCCESS);
  } catch (error) {
    session.finish(failureStatus(error instanceof Error ? error.message : String(error)));
  }
}

/** Where the runtime attaches; undefined when the container has ended. */
async function runtimeAttach({ context, uid, container }: AttachInput): Promise<string | undefined> {
  if (container.state !== "running") return undefined;
  try {
    return (await context.cri.runtime.attach({ containerId: container.id, stdin: true, stdout: true, stderr: true, tty: false })).url;
  } catch (error) {
    const rt = await context.pleg.refresh(uid);
    if (rt.containers.find((c) => c.id === container.id)?.state !== "running") return undefined;
    throw new HttpError(500, rpcMessage(error), { cause: error });
  }
}

class Attachment {
  readonly #input: AttachInput;
  readonly #session: ExecSession;
  readonly #outputs = { stdout: new AttachedOutput(), stderr: new AttachedOutput() };
  readonly #wakers = new Set<() => void>();
  /** All of the log has been read, for now. */
  #idle = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The runtime's attach goes on. */
  #attached = false;
  /** When the container was first seen to have ended. */
  #ended: number | undefined;

  constructor(input: AttachInput, session: ExecSession) {
    this.#input = input;
    this.#session = session;
  }

  /** Resolves when the container has ended and all that it wrote is sent, or the client has gone. */
  async run(url: string | undefined): Promise<void> {
    const { signal } = this.#session;
    const over = new AbortController();
    if (url) {
      this.#attached = true;
      void this.#attach(url, AbortSignal.any([over.signal, signal])).finally(() => {
        this.#attached = false;
        this.#wake();
        // Its end is most often the container's: look whether it is.
        this.#input.context.pleg.expect(this.#input.uid);
      });
    }
    try {
      await this.#follow(signal);
    } finally {
      clearTimeout(this.#timer);
      over.abort();
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { pods, uid, container } = this.#input;
    const source = {
      path: container.logPath,
      running: () => this.#expectsMore(),
      onChange: (fn: () => void) => {
        this.#wakers.add(fn);
        const undo = pods.onRuntimeChange(uid, fn);
        return () => {
          this.#wakers.delete(fn);
          undo();
        };
      },
    };
    for await (const lines of logLines(source, { follow: true }, signal)) {
      this.#idle = lines === undefined;
      if (lines) await this.#lines(lines);
      else this.#settle();
    }
    this.#idle = false;
    for (const [sink, output] of this.#each()) if (output.ended !== false) sink?.write(output.release());
  }

  #each(): [Sink | undefined, AttachedOutput][] {
    return [
      [this.#session.stdout, this.#outputs.stdout],
      [this.#session.stderr, this.#outputs.stderr],
    ];
  }

  async #lines(lines: Buffer): Promise<void> {
    const parts: Record<"stdout" | "stderr", Buffer[]> = { stdout: [], stderr: [] };
    for (const line of parseLogLines(lines)) parts[line.stream].push(this.#outputs[line.stream].line(line));
    for (const stream of ["stdout", "stderr"] as const) {
      const data = Buffer.concat(parts[stream]);
      if (data.length > 0) await this.#session[stream]?.write(data);
    }
  }

  /** Sends the newlines at the end that are known to be there. */
  #settle(): void {
    if (!this.#idle) return;
    let unsure = false;
    for (const [sink, output] of this.#each()) {
      if (output.waits && output.ended === true) sink?.write(output.release());
      else if (output.waits && output.ended === undefined) unsure = true;
    }
    if (!unsure || this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (!this.#idle) return;
      for (const [sink, output] of this.#each()) if (output.ended === undefined) sink?.write(output.release());
    }, newlineDelay);
  }

  #expectsMore(): boolean {
    const { context, uid, container } = this.#input;
    if (context.pleg.get(uid).containers.find((c) => c.id === container.id)?.state === "running") return true;
    if (this.#ended === undefined) {
      this.#ended = Date.now();
      setTimeout(() => this.#wake(), drainTime);
    }
    return Date.now() - this.#ended < drainTime && (this.#attached || this.#each().some(([, output]) => output.behind));
  }

  #wake(): void {
    for (const fn of this.#wakers) fn();
  }

  /** The input, and what the runtime shows of the output, to compare. Never rejects: a container may end at any time. */
  async #attach(url: string, signal: AbortSignal): Promise<void> {
    try {
      const { dialExec } = await import("../../rpc/remotecommand/mod.ts");
      const far = await dialExec({ url, signal }, { stdin: true, stdout: true, stderr: true, tty: false });
      signal.addEventListener("abort", () => far.close(), { once: true });
      if (signal.aborted) return far.close();
      void this.#feed(far);
      await Promise.all([this.#watch(far.stdout!, this.#outputs.stdout), this.#watch(far.stderr!, this.#outputs.stderr), far.status]);
      far.close();
    } catch (error) {
      if (!signal.aborted) this.#input.context.log.info("The runtime's attach broke off", { err: error }, 2);
    }
  }

  async #feed(far: RemoteCommand): Promise<void> {
    for await (const chunk of this.#session.stdin ?? []) await far.stdin!.write(chunk);
    far.stdin!.end();
  }

  async #watch(stream: AsyncIterable<Uint8Array>, output: AttachedOutput): Promise<void> {
    for await (const data of stream) {
      output.seen(data);
      this.#settle();
      // The log has it by now, or in a moment.
      this.#wake();
    }
  }
}
