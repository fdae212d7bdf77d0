// The client's side of port-forward, over SPDY.
import { SpdyConnection } from "../spdy/connection.ts";
import type { ByteStream } from "./bytes.ts";
import { type DialTarget, dialUpgrade } from "./dial.ts";
import { PORT_FORWARD_PROTOCOL } from "./protocol.ts";

export interface PortForward {
  /** Opens a connection to a port of the pod. */
  connect(port: number): Promise<ForwardedConnection>;
  readonly closed: Promise<void>;
  close(): void;
}

export interface ForwardedConnection extends ByteStream {
  /** What the server says went wrong, once its part has ended; "" if nothing did. */
  readonly error: Promise<string>;
}

/** Throws UpgradeRefused, or what the socket says. */
export async function dialPortForward(target: DialTarget): Promise<PortForward> {
  const { channel } = await dialUpgrade(target, [
    ["Upgrade", "SPDY/3.1"],
    ["X-Stream-Protocol-Version", PORT_FORWARD_PROTOCOL],
  ]);
  const { promise, resolve } = Promise.withResolvers<void>();
  const connection = new SpdyConnection("client", channel, { closed: () => resolve() });
  let requests = 0;
  return {
    closed: promise,
    close: () => connection.close(),
    async connect(port) {
      const headers = { port: String(port), requestid: String(requests++) };
      const error = connection.open({ ...headers, streamtype: "error" });
      error.end();
      const data = connection.open({ ...headers, streamtype: "data" });
      await Promise.all([error.accepted, data.accepted]);
      const text = async () => {
        const decoder = new TextDecoder();
        let all = "";
        for await (const chunk of error.readable) all += decoder.decode(chunk, { stream: true });
        return all;
      };
      return {
        readable: data.readable,
        write: (bytes) => data.write(bytes),
        end: () => data.end(),
        reset: () => data.reset(),
        error: text().catch((cause: Error) => cause.message),
      };
    },
  };
}
