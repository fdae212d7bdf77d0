// Tells systemd how a service is doing (sd_notify(3)): one datagram to the socket of $NOTIFY_SOCKET.
import { closeSync, writeSync } from "node:fs";
import { libc } from "./ffi.ts";
import { logger } from "./log.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
/** Bytes of sun_path (unix(7)). */
const MOST_PATH = 108;

/**
 * Sends a state such as "READY=1". Without $NOTIFY_SOCKET nothing is sent; that
 * nobody listens there is logged, for whoever waits would give the service up.
 */
export function notify(state: string, path = process.env.NOTIFY_SOCKET): void {
  if (!path) return;
  // "@" stands for the zero byte of an abstract name.
  const name = Buffer.from(path.startsWith("@") ? `\0${path.slice(1)}` : path);
  const { socket, connect } = libc();
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  try {
    const address = Buffer.alloc(2 + name.length);
    address.writeUInt16LE(AF_UNIX);
    name.copy(address, 2);
    if (fd < 0 || name.length > MOST_PATH || connect(fd, address, address.length) !== 0) throw new Error(`nobody listens at ${path}`);
    writeSync(fd, state);
  } catch (error) {
    logger("systemd").warn("Could not notify systemd", { state, error: (error as Error).message });
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}
