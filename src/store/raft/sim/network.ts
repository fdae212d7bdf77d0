// A network that delays, reorders, doubles and drops, and whose links can be
// cut in each direction by itself.
import type { Message } from "../messages.ts";
import { decodeMessages, encodeMessages } from "../wire.ts";
import type { SavedState } from "./disk.ts";
import type { Random } from "./random.ts";
import type { Schedule } from "./schedule.ts";

export interface Parcel {
  message: Message;
  /** The state that goes along with a snapshot message. */
  state: SavedState | undefined;
}

export interface Weather {
  /** Milliseconds that a message takes. */
  from: number;
  to: number;
  drop: number;
  double: number;
  /** How likely it is that one arrives again, or for the first time, when nobody expects it any more. */
  late: number;
  /** Whether messages of a link keep their order, as on a connection. */
  ordered: boolean;
}

export const CALM: Weather = { from: 0.2, to: 2, drop: 0, double: 0, late: 0, ordered: true };

/** One direction between two members, as a number: strings of them would be a fifth of a history's time. */
const linkOf = (from: bigint, to: bigint): number => Number(from) * 0x10000 + Number(to);

export class SimNetwork {
  readonly #random: Random;
  readonly #schedule: Schedule;
  readonly #deliver: (to: bigint, parcel: Parcel) => void;
  readonly #cut = new Set<number>();
  readonly #lastArrival = new Map<number, number>();
  /** Some histories go through the encoding of the wire. */
  readonly #encodes: boolean;
  weather: Weather = CALM;

  constructor(random: Random, schedule: Schedule, deliver: (to: bigint, parcel: Parcel) => void) {
    this.#random = random;
    this.#schedule = schedule;
    this.#deliver = deliver;
    this.#encodes = random.chance(0.1);
  }

  isCut(from: bigint, to: bigint): boolean {
    return this.#cut.size > 0 && this.#cut.has(linkOf(from, to));
  }

  cut(from: bigint, to: bigint): void {
    this.#cut.add(linkOf(from, to));
  }

  heal(): void {
    this.#cut.clear();
  }

  /** Returns when it arrives, in milliseconds from now; undefined if it is lost. */
  send(parcel: Parcel): number | undefined {
    const { from, to } = parcel.message;
    const { drop, double, late } = this.weather;
    const repeats = parcel.message.type !== "propose";
    if (repeats && late > 0 && this.#random.chance(late)) this.#arrive(parcel, this.#random.between(50, 1500));
    if (this.isCut(from, to) || this.#random.chance(drop)) return undefined;
    const arrives = this.#carry(this.#encodes ? this.#encoded(parcel) : parcel);
    // A proposal that arrives twice is two proposals: connections don't do that.
    if (repeats && this.#random.chance(double)) this.#carry(parcel);
    return arrives;
  }

  #encoded({ message, state }: Parcel): Parcel {
    return { message: decodeMessages(encodeMessages([message]))[0]!, state };
  }

  #carry(parcel: Parcel): number {
    const { from, to } = parcel.message;
    let delay = this.#random.between(this.weather.from, this.weather.to);
    // A snapshot is many messages' worth.
    if (parcel.state) delay *= this.#random.between(2, 20);
    else if (this.weather.ordered) {
      const link = linkOf(from, to);
      const arrival = Math.max(this.#schedule.now + delay, this.#lastArrival.get(link) ?? 0);
      this.#lastArrival.set(link, arrival);
      delay = arrival - this.#schedule.now;
    }
    this.#arrive(parcel, delay);
    return delay;
  }

  /** What was on its way when a link was cut is lost with it. */
  #arrive(parcel: Parcel, delay: number): void {
    const { from, to } = parcel.message;
    this.#schedule.after(delay, () => {
      if (!this.isCut(from, to)) this.#deliver(to, parcel);
    });
  }
}
