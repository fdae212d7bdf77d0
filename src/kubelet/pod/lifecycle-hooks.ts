// postStart and preStop: exec, httpGet or sleep (Kubernetes documentation,
// "Container Lifecycle Hooks").
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { type Cri, rpcMessage } from "../cri/client.ts";
import { httpRequest, resolvePort } from "../probes/actions.ts";

/** A hook failed; the message is the event's. */
export class HookError extends Error {
  override name = "HookError";
}

export interface HookInput {
  cri: Cri;
  container: coreV1.Container;
  containerId: string;
  podIP: string;
  /** Milliseconds; 0 for none. */
  timeout: number;
}

/** Runs a hook to its end. Throws HookError. */
export async function runHook(handler: coreV1.LifecycleHandler, input: HookInput): Promise<void> {
  if (handler.exec) {
    const command = handler.exec.command ?? [];
    let answer: { exitCode: number; stdout: Uint8Array; stderr: Uint8Array };
    try {
      answer = await input.cri.runtime.execSync({
        containerId: input.containerId,
        cmd: command,
        timeout: BigInt(Math.ceil(input.timeout / 1000)),
      });
    } catch (error) {
      throw new HookError(`Exec lifecycle hook (${JSON.stringify(command)}) failed - error: ${rpcMessage(error)}`, { cause: error });
    }
    if (answer.exitCode !== 0) {
      const text = Buffer.concat([answer.stdout, answer.stderr]).toString("utf8");
      throw new HookError(
        `Exec lifecycle hook (${JSON.stringify(command)}) failed - error: command '${command.join(" ")}' exited with ${answer.exitCode}: ${text}, message: ${JSON.stringify(text)}`,
      );
    }
  } else if (handler.httpGet) {
    const { path = "/", host } = handler.httpGet;
    const port = resolvePort(handler.httpGet.port, input.container);
    const answer = await httpRequest(handler.httpGet, host || input.podIP, port, input.timeout || 30_000).catch((error: Error) => {
      throw new HookError(`HTTP lifecycle hook (${path}) failed - error: ${error.message}`, { cause: error });
    });
    if (answer.status >= 400) throw new HookError(`HTTP lifecycle hook (${path}) failed - error: HTTP status ${answer.status}`);
  } else if (handler.sleep) {
    await new Promise((resolve) => setTimeout(resolve, handler.sleep!.seconds * 1000));
  } else if (handler.tcpSocket) throw new HookError("TCP lifecycle hooks are not supported");
}

/** A hook that ends by itself, or is left behind after `ms`. */
export async function withTimeout<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new HookError(`${what} did not finish in ${ms / 1000} s`)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
