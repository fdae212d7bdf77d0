// A container's own standard streams, by way of its conmon.
import net from "node:net";
import type { ExecSession } from "../../rpc/remotecommand/exec-server.ts";
import { failureStatus, SUCCESS } from "../../rpc/remotecommand/protocol.ts";
import { connectAttach, resizeTerminal, STDERR } from "../container/conmon.ts";
import { message } from "../errors.ts";

export interface AttachRequest {
  /** Folder of the container. */
  bundle: string;
  tty: boolean;
}

/** conmon takes packets of up to 32 KiB, and each write has to stay one packet. */
const MAX_PACKET = 8192;

/** Lasts until the container ends or the client leaves. Never rejects. */
export async function serveAttach(client: ExecSession, request: AttachRequest): Promise<void> {
  try {
    const socket = net.connect({ fd: connectAttach(request.bundle), allowHalfOpen: true } as unknown as net.NetConnectOpts);
    const gone = () => socket.destroy();
    client.signal.addEventListener("abort", gone);
    void pumpInput(client, socket);
    void pumpSizes(client, request.bundle);
    try {
      for await (const packet of socket) {
        const data = packet as Buffer;
        const sink = data[0] === STDERR && !request.tty ? client.stderr : client.stdout;
        await sink?.write(data.subarray(1));
      }
    } finally {
      client.signal.removeEventListener("abort", gone);
      socket.destroy();
    }
    client.finish(SUCCESS);
  } catch (error) {
    client.finish(failureStatus(message(error)));
  }
}

async function pumpInput(client: ExecSession, socket: net.Socket): Promise<void> {
  if (client.stdin === undefined) return;
  for await (const chunk of client.stdin) {
    for (let at = 0; at < chunk.length && !socket.destroyed; at += MAX_PACKET) {
      // Waiting for each keeps the socket from joining two in its buffer.
      await new Promise<void>((resolve) => {
        socket.write(chunk.subarray(at, at + MAX_PACKET), () => resolve());
      });
    }
  }
  if (!socket.destroyed) socket.end();
}

async function pumpSizes(client: ExecSession, bundle: string): Promise<void> {
  try {
    for await (const { width, height } of client.resize ?? []) if (width > 0 && height > 0) resizeTerminal(bundle, height, width);
  } catch (error) {
    // The container may be gone, with its conmon; the output's end says so.
    if (!["ENXIO", "ENOENT"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}
