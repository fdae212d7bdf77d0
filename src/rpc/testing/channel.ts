import type { ByteChannel, ChannelEvents } from "../remotecommand/bytes.ts";
import { cut } from "./cut.ts";

/** Two channels joined in memory: bytes are carried by run(), cut by the numbers. */
export function channelPair() {
  class End implements ByteChannel {
    events: ChannelEvents | undefined;
    out: Uint8Array[] = [];
    paused = false;
    ended = false;
    other!: End;
    start(events: ChannelEvents) {
      this.events = events;
    }
    write(data: Uint8Array) {
      if (!this.ended) this.out.push(data);
      return !this.other.paused;
    }
    end() {
      this.ended = true;
    }
    destroy() {
      this.ended = true;
      this.out = [];
    }
    pause() {
      this.paused = true;
    }
    resume() {
      this.paused = false;
      this.other.events?.drain();
    }
  }
  const [a, b] = [new End(), new End()];
  a.other = b;
  b.other = a;
  const run = (places: readonly number[] = []) => {
    for (let moved = true; moved; ) {
      moved = false;
      for (const end of [a, b]) {
        if (end.out.length === 0 || end.other.paused) continue;
        moved = true;
        const bytes = new Uint8Array(Buffer.concat(end.out.splice(0)));
        for (const piece of cut(bytes, places)) end.other.events?.data(piece);
      }
    }
    for (const end of [a, b]) if (end.ended) end.other.events?.closed(undefined);
  };
  return { a, b, run };
}
