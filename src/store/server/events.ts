// Events as messages: written once for all watchers that are told the same.
import { PreparedMessage } from "../../rpc/raw.ts";
import type { Event } from "../mvcc/types.ts";
import { eventSize, watchEvents } from "../wire/responses.ts";
import { type ServerContext, wireHeader } from "./context.ts";

/** How a watcher wants its events. */
export interface EventForm {
  readonly watchId: bigint;
  readonly prevKv: boolean;
  /** Takes the events of one revision in several messages. */
  readonly fragment: boolean;
}

/** What an event takes besides its own bytes. */
const EVENT_HEAD = 6;

export class EventWriter {
  readonly #context: ServerContext;
  /** The batch that was written last, in each form asked for. */
  #events: readonly Event[] | undefined;
  readonly #written: Map<bigint, readonly PreparedMessage[]>[] = [new Map(), new Map(), new Map(), new Map()];

  constructor(context: ServerContext) {
    this.#context = context;
  }

  /** The messages that tell a batch, whose last revision looked at is `revision`. */
  messages(events: readonly Event[], revision: number, form: EventForm): readonly PreparedMessage[] {
    if (this.#events !== events) {
      // Watchers that share a batch get it one after the other; nothing is kept beyond.
      if (!this.#events) queueMicrotask(() => this.#forget());
      this.#forget();
      this.#events = events;
    }
    const written = this.#written[(form.prevKv ? 1 : 0) | (form.fragment ? 2 : 0)]!;
    let messages = written.get(form.watchId);
    if (!messages) {
      messages = this.#write(events, revision, form);
      written.set(form.watchId, messages);
    }
    return messages;
  }

  #forget(): void {
    this.#events = undefined;
    for (const written of this.#written) written.clear();
  }

  #write(events: readonly Event[], revision: number, form: EventForm): PreparedMessage[] {
    const header = wireHeader(this.#context);
    const most = this.#context.fragmentBytes;
    const messages: PreparedMessage[] = [];
    const { watchId, prevKv } = form;
    let from = 0;
    const flush = (to: number, upTo: number, fragment: boolean) => {
      messages.push(new PreparedMessage(watchEvents(header, upTo, watchId, events, from, to, { prevKv, fragment })));
      from = to;
    };
    let bytes = 0;
    for (const [i, e] of events.entries()) {
      const size = eventSize(e, prevKv) + EVENT_HEAD;
      const before = i > from ? events[i - 1]! : undefined;
      if (before && bytes + size > most) {
        // Between revisions it is simply the next message; within one, only those who asked take a part.
        const whole = before.kv.modRevision !== e.kv.modRevision;
        if (whole || form.fragment) {
          flush(i, before.kv.modRevision, !whole);
          bytes = 0;
        }
      }
      bytes += size;
    }
    flush(events.length, revision, false);
    return messages;
  }
}
