import { PREFACE } from "./frame.ts";
import type { Guarded, Rounds } from "./patrol.ts";

interface Terminable {
  terminate(): void;
}

/** A socket that has not shown yet which version of HTTP it speaks. */
class Stranger implements Guarded {
  readonly connection = { ended: false, greeted: false, streams: 0, latest: 0, backlog: 0, progress: 0, drain() {}, close() {} };
  readonly #socket: Terminable;
  bytes: Uint8Array | undefined;
  constructor(socket: Terminable) {
    this.#socket = socket;
  }
  terminate(): void {
    this.#socket.terminate();
  }
}

/** Where sockets wait until that is known. */
export class Lobby<S extends Terminable> {
  readonly #rounds: Rounds;
  readonly #strangers = new Map<S, Stranger>();

  constructor(rounds: Rounds) {
    this.#rounds = rounds;
  }

  enter(socket: S): void {
    const stranger = new Stranger(socket);
    this.#strangers.set(socket, stranger);
    this.#rounds.watch(stranger);
  }

  /** Takes what has come; returns all of it with the version, once it shows. */
  listen(socket: S, chunk: Uint8Array): { version: 1 | 2; bytes: Uint8Array } | undefined {
    const stranger = this.#strangers.get(socket);
    if (!stranger) return undefined;
    const bytes = stranger.bytes ? new Uint8Array(Buffer.concat([stranger.bytes, chunk])) : chunk;
    const version = versionOf(bytes);
    if (version) return { version, bytes };
    stranger.bytes = bytes;
    return undefined;
  }

  leave(socket: S): void {
    const stranger = this.#strangers.get(socket);
    if (stranger) this.#rounds.forget(stranger);
    this.#strangers.delete(socket);
  }

  /** Sends all away. */
  close(): void {
    for (const stranger of [...this.#strangers.values()]) stranger.terminate();
  }
}

/** No method of HTTP/1.1 begins like the preface, "PRI". */
function versionOf(bytes: Uint8Array): 1 | 2 | undefined {
  for (let i = 0; i < 3; i++) {
    if (bytes[i] === undefined) return undefined;
    if (bytes[i] !== PREFACE[i]) return 1;
  }
  return 2;
}
