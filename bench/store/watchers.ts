// Many watchers of one key in a process of its own, which only counts:
// `bun watchers.ts HOST:PORT WATCHERS EVENTS` says "ready" when all watches
// stand, and a line of JSON when each has had its events. It reads frames by
// hand, so that it costs less than any server that sends them.
import { WATCH } from "./frames.ts";

const CONNECTIONS = 10;
const WINDOW = 0x7fffffff;

export interface Watched {
  events: number;
  /** From the first event to the last. */
  seconds: number;
  /** CPU time of this process in it. */
  cpu: number;
}

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(9 + payload.length);
  out.set([payload.length >> 16, payload.length >> 8, payload.length, type, flags]);
  new DataView(out.buffer).setUint32(5, stream);
  out.set(payload, 9);
  return out;
}

const word = (n: number) => Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);
/** HPACK: literal fields that are not indexed. */
const field = (name: string, value: string) =>
  Buffer.concat([Uint8Array.of(0, name.length), Buffer.from(name), Uint8Array.of(value.length), Buffer.from(value)]);

function headers(authority: string): Uint8Array {
  const fields = { ":method": "POST", ":scheme": "http", ":path": "/etcdserverpb.Watch/Watch", ":authority": authority };
  return Buffer.concat(Object.entries({ ...fields, "content-type": "application/grpc", te: "trailers" }).map(([n, v]) => field(n, v)));
}

/** Counts `created` and the events of a WatchResponse. */
function scan(b: Uint8Array, start: number, end: number): { created: boolean; events: number } {
  let events = 0;
  let created = false;
  let at = start;
  const varint = () => {
    let n = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = b[at++]!;
      n += (byte & 127) * scale;
      if (byte < 128) return n;
    }
  };
  while (at < end) {
    const tag = varint();
    if ((tag & 7) === 2) {
      const length = varint();
      at += length;
      if (tag >> 3 === 11) events++;
    } else {
      const n = varint();
      if (tag >> 3 === 3) created = n === 1;
      if (tag >> 3 === 4 && n === 1) throw new Error("a watch was canceled");
    }
  }
  return { created, events };
}

class Counter {
  readonly #expected: number;
  readonly #watchers: number;
  #created = 0;
  #events = 0;
  #first = 0;
  #cpu = process.cpuUsage();

  constructor(watchers: number, eventsEach: number) {
    this.#watchers = watchers;
    this.#expected = watchers * eventsEach;
  }

  message(b: Uint8Array, start: number, end: number): void {
    const { created, events } = scan(b, start, end);
    if (created && ++this.#created === this.#watchers) console.log("ready");
    if (events === 0) return;
    if (this.#events === 0) {
      this.#first = performance.now();
      this.#cpu = process.cpuUsage();
    }
    this.#events += events;
    if (this.#events < this.#expected) return;
    if (this.#events > this.#expected) throw new Error(`${this.#events} events instead of ${this.#expected}`);
    const { user, system } = process.cpuUsage(this.#cpu);
    const done: Watched = { events: this.#events, seconds: (performance.now() - this.#first) / 1000, cpu: (user + system) / 1e6 };
    console.log(JSON.stringify(done));
    process.exit(0);
  }
}

/** Cuts the bytes of a connection into frames, and those of its streams into messages. */
class Reader {
  readonly #counter: Counter;
  readonly #send: (bytes: Uint8Array) => void;
  #rest: Uint8Array = new Uint8Array(0);
  #received = 0;
  readonly #partial = new Map<number, Uint8Array>();

  constructor(counter: Counter, send: (bytes: Uint8Array) => void) {
    this.#counter = counter;
    this.#send = send;
  }

  data(chunk: Uint8Array): void {
    const b = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    while (b.length - at >= 9) {
      const length = (b[at]! << 16) | (b[at + 1]! << 8) | b[at + 2]!;
      if (b.length - at < 9 + length) break;
      this.#frame(b, at, at + 9, at + 9 + length);
      at += 9 + length;
    }
    this.#rest = b.slice(at);
  }

  #frame(b: Uint8Array, head: number, start: number, end: number): void {
    const type = b[head + 3]!;
    const stream = ((b[head + 5]! << 24) | (b[head + 6]! << 16) | (b[head + 7]! << 8) | b[head + 8]!) >>> 0;
    if (type === 0) {
      this.#stream(stream, b, start, end);
      this.#received += end - start;
      if (this.#received > WINDOW / 2) {
        this.#send(frame(8, 0, 0, word(this.#received)));
        this.#received = 0;
      }
    } else if (type === 4 && !(b[head + 4]! & 1)) this.#send(frame(4, 1, 0, new Uint8Array(0)));
    else if (type === 6 && !(b[head + 4]! & 1)) this.#send(frame(6, 1, 0, b.slice(start, end)));
    else if (type === 3 || type === 7) throw new Error("the server ended a stream");
  }

  #stream(id: number, bytes: Uint8Array, from: number, to: number): void {
    let b = bytes;
    let at = from;
    let end = to;
    const before = this.#partial.get(id);
    if (before) {
      b = Buffer.concat([before, bytes.subarray(from, to)]);
      at = 0;
      end = b.length;
    }
    while (end - at >= 5) {
      const length = ((b[at + 1]! << 24) | (b[at + 2]! << 16) | (b[at + 3]! << 8) | b[at + 4]!) >>> 0;
      if (end - at < 5 + length) break;
      this.#counter.message(b, at + 5, at + 5 + length);
      at += 5 + length;
    }
    if (at < end) this.#partial.set(id, b.slice(at, end));
    else if (before) this.#partial.delete(id);
  }
}

async function run(endpoint: string, watchers: number, eventsEach: number): Promise<void> {
  const [hostname, port] = endpoint.split(":") as [string, string];
  const counter = new Counter(watchers, eventsEach);
  const block = headers(endpoint);
  const connections = Math.min(CONNECTIONS, watchers);
  for (let c = 0; c < connections; c++) {
    const parts: Uint8Array[] = [Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(4, 0, 0, Uint8Array.of(0, 4, ...word(WINDOW)))];
    parts.push(frame(8, 0, 0, word(WINDOW - 65535)));
    for (let w = c, stream = 1; w < watchers; w += connections, stream += 2) {
      parts.push(frame(1, 4, stream, block), frame(0, 0, stream, WATCH));
    }
    let waiting: Uint8Array = Buffer.concat(parts);
    const flush = (s: { write(b: Uint8Array): number }) => {
      waiting = waiting.subarray(s.write(waiting));
    };
    let reader: Reader;
    await Bun.connect({
      hostname,
      port: Number(port),
      socket: {
        binaryType: "uint8array",
        open(s) {
          s.setNoDelay(true);
          reader = new Reader(counter, (bytes) => {
            waiting = Buffer.concat([waiting, bytes]);
            flush(s);
          });
          flush(s);
        },
        data: (_, chunk: Uint8Array) => reader.data(chunk),
        drain: (s) => flush(s),
        close() {
          throw new Error("the server closed a connection");
        },
      },
    });
  }
}

if (import.meta.main) await run(process.argv[2]!, Number(process.argv[3]), Number(process.argv[4]));
