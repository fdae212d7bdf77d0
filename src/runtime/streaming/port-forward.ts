// Connections to ports of a pod's loopback, from inside its network namespace.
import net from "node:net";
import { connectLoopback } from "../../platform/netns.ts";
import type { acceptPortForward, ByteStream, Upgrade } from "../../rpc/remotecommand/mod.ts";

export interface PortForwardRequest {
  /** The pod's pinned network namespace; the host's if absent. */
  netns?: string;
  ports: readonly number[];
}

export async function servePortForward(upgrade: Upgrade, request: PortForwardRequest, accept: typeof acceptPortForward): Promise<void> {
  await accept(upgrade, (port, stream) => forward(request.netns, port, stream));
}

/** Connects to localhost as a program in the pod would: IPv4 first, then IPv6. */
async function dial(netns: string | undefined, port: number): Promise<net.Socket> {
  let failure: unknown;
  for (const family of [4, 6] as const) {
    try {
      return netns === undefined ? await dialHost(family, port) : await dialPod(netns, family, port);
    } catch (error) {
      failure ??= error;
    }
  }
  throw new Error(`failed to connect to localhost:${port} inside namespace ${JSON.stringify(netns ?? "host")}: connection refused`, {
    cause: failure,
  });
}

async function dialPod(netns: string, family: 4 | 6, port: number): Promise<net.Socket> {
  const fd = await connectLoopback(netns, family, port);
  return net.connect({ fd, allowHalfOpen: true } as unknown as net.NetConnectOpts);
}

function dialHost(family: 4 | 6, port: number): Promise<net.Socket> {
  const socket = net.connect({ host: family === 4 ? "127.0.0.1" : "::1", port, allowHalfOpen: true });
  return new Promise((resolve, reject) => {
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}

async function forward(netns: string | undefined, port: number, stream: ByteStream): Promise<void> {
  const socket = await dial(netns, port);
  socket.setNoDelay(true);
  const ended = Promise.withResolvers<void>();
  socket.on("close", () => ended.resolve());
  socket.on("error", () => stream.reset());
  const inbound = (async () => {
    try {
      for await (const chunk of stream.readable) {
        if (!socket.write(chunk)) {
          await Promise.race([new Promise<void>((resolve) => socket.once("drain", () => resolve())), ended.promise]);
        }
      }
      socket.end();
    } catch {
      // The client has gone: what it had open goes too.
      socket.destroy();
    }
  })();
  socket.on("data", (chunk: Buffer) => {
    const wait = stream.write(chunk);
    if (wait === undefined) return;
    socket.pause();
    void wait.then(() => socket.resume());
  });
  socket.on("end", () => stream.end());
  await ended.promise;
  await Promise.race([inbound, Promise.resolve()]);
}
