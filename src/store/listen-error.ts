import type { RpcListener, RpcServer } from "../rpc/server.ts";
import type { Address } from "../rpc/types.ts";

/** What the system says, in Go's words. */
const WORDS: Record<string, string> = {
  EADDRINUSE: "address already in use",
  EADDRNOTAVAIL: "cannot assign requested address",
  EACCES: "permission denied",
};

/** An address that can't be listened at. */
export class ListenError extends Error {
  override name = "ListenError";
  readonly whom: "client" | "peer";
  constructor(whom: "client" | "peer", address: Address, cause: unknown) {
    const { code = "", message } = cause as { code?: string; message: string };
    const where =
      "unix" in address ? `unix ${address.unix}` : `tcp ${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
    super(`listen ${where}: bind: ${WORDS[code] ?? message}`, { cause });
    this.whom = whom;
  }
}

/** Listens at all of the addresses, or at none. Throws ListenError. */
export async function listenAt(server: RpcServer, whom: "client" | "peer", addresses: readonly Address[]): Promise<RpcListener[]> {
  const listeners: RpcListener[] = [];
  for (const address of addresses) {
    try {
      listeners.push(await server.listen(address));
    } catch (error) {
      await Promise.all(listeners.map((l) => l.close()));
      throw new ListenError(whom, address, error);
    }
  }
  return listeners;
}
