// Messages on their way out, and those that wait for the disk: a member says
// nothing that it could have forgotten after a crash.
import type { Disk } from "./disk.ts";
import type { Message } from "./messages.ts";

export class Outbox {
  readonly #disk: Disk;
  #messages: Message[] = [];
  #held: { message: Message; write: number }[] = [];

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** @param write the write that has to be durable before */
  send(message: Message, write: number): void {
    if (write <= this.#disk.done) this.#messages.push(message);
    else this.#held.push({ message, write });
  }

  /** Lets go of what waited for writes that are done now. */
  release(): void {
    const held = this.#held;
    let n = 0;
    for (const h of held) {
      if (h.write <= this.#disk.done) this.#messages.push(h.message);
      else held[n++] = h;
    }
    held.length = n;
  }

  take(): readonly Message[] {
    if (this.#messages.length === 0) return NONE;
    const messages = this.#messages;
    this.#messages = [];
    return messages;
  }
}

const NONE: readonly Message[] = [];
