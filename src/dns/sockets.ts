// UDP and TCP on one address: messages in, answers out. What was answered from
// the zone is answered again by its bytes, without reading them.
import { type Logger, logger } from "../platform/log.ts";
import type { Answer, Answerer } from "./answerer.ts";
import { errorOf } from "./exchange.ts";
import type { Metrics } from "./metrics.ts";
import { putU16 } from "./wire.ts";
import type { Zone } from "./zone.ts";

export interface Listen {
  /** An address of this machine. */
  host: string;
  /** 0 takes a free one, the same for UDP and TCP. */
  port: number;
}

interface Known extends Answer {
  turn: number;
}

/** Questions known by their bytes. */
const maxKnown = 20_000;
const maxConnections = 1000;
/** Seconds without a message after which a TCP connection ends. */
const idle = 10;
/** Answers under way for one TCP connection (RFC 7766 lets clients pipeline). */
const maxPipelined = 100;
const tries = 20;

export class Endpoint {
  readonly #answerer: Answerer;
  readonly #zone: Zone;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #known = new Map<string, Known>();
  #generation = 0;
  #udp: Bun.udp.Socket<"buffer"> | undefined;
  #tcp: Bun.TCPSocketListener<Connection> | undefined;
  #connections = 0;
  #refused: { data: Uint8Array; port: number; address: string }[] = [];

  constructor(answerer: Answerer, zone: Zone, metrics: Metrics, log: Logger = logger("dns")) {
    this.#answerer = answerer;
    this.#zone = zone;
    this.#metrics = metrics;
    this.#log = log;
  }

  get port(): number {
    return this.#udp?.port ?? 0;
  }

  /** Throws an Error with code EADDRINUSE or EACCES that names the address. */
  async open({ host, port }: Listen): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      this.#udp = await this.#bind(host, port);
      try {
        this.#tcp = this.#listen(host, this.#udp.port);
        return;
      } catch (error) {
        this.#udp.close();
        // The port that was free for UDP need not be for TCP.
        if (port !== 0 || attempt === tries) throw named(error, host, port);
      }
    }
  }

  async #bind(host: string, port: number): Promise<Bun.udp.Socket<"buffer">> {
    try {
      return await Bun.udpSocket({
        hostname: host,
        port,
        socket: {
          data: (socket, data, from, address) => this.#datagram(socket, data, from, address),
          drain: (socket) => this.#drain(socket),
          // A client that is gone has its host say so.
          error: (...args: unknown[]) => this.#log.info("UDP socket reports", { err: errorOf(args).message }, 4),
        },
      });
    } catch (error) {
      throw named(error, host, port);
    }
  }

  close(): void {
    this.#udp?.close();
    this.#tcp?.stop(true);
    this.#udp = undefined;
    this.#tcp = undefined;
  }

  #datagram(socket: Bun.udp.Socket<"buffer">, data: Buffer, port: number, address: string): void {
    if (data.length < 12) return;
    const known = this.#recall(data);
    if (known) {
      this.#metrics.answered("udp", known.type, known.rcode);
      const bytes = known.rotations?.[known.turn++ % known.rotations.length] ?? known.bytes;
      bytes[0] = data[0]!;
      bytes[1] = data[1]!;
      this.#send(socket, bytes, port, address);
      return;
    }
    const answer = this.#answer(data, false);
    if (!answer) return;
    if (answer instanceof Promise) void answer.then((a) => a && this.#send(socket, a.bytes, port, address));
    else {
      this.#remember(data, answer);
      this.#send(socket, answer.bytes, port, address);
    }
  }

  /** The bytes after the id: flags, question, and OPT. */
  #recall(data: Buffer): Known | undefined {
    if (this.#generation !== this.#zone.generation || this.#known.size > maxKnown) {
      this.#known.clear();
      this.#generation = this.#zone.generation;
    }
    return this.#known.get(data.toString("latin1", 2));
  }

  #remember(data: Buffer, answer: Answer): void {
    // A longer question carries options, such as a cookie, that no other will have.
    if (answer.generation === this.#generation && data.length < 300) this.#known.set(data.toString("latin1", 2), { ...answer, turn: 1 });
  }

  #answer(data: Uint8Array, tcp: boolean): Answer | Promise<Answer | undefined> | undefined {
    const began = performance.now();
    const tell = (answer: Answer) => {
      this.#metrics.answered(tcp ? "tcp" : "udp", answer.type, answer.rcode);
      this.#metrics.took(performance.now() - began);
      return answer;
    };
    const answer = this.#answerer.answer(data, tcp);
    if (!(answer instanceof Promise)) return answer && tell(answer);
    return answer.then(tell, (error: unknown) => {
      this.#log.error("A question could not be answered", error);
      return undefined;
    });
  }

  /** What the socket does not take now goes out when it can; past a bound it is lost, as UDP may be. */
  #send(socket: Bun.udp.Socket<"buffer">, data: Uint8Array, port: number, address: string): void {
    if (this.#udp !== socket) return;
    if (!socket.send(data, port, address) && this.#refused.length < 1000) this.#refused.push({ data: data.slice(), port, address });
  }

  #drain(socket: Bun.udp.Socket<"buffer">): void {
    for (const { data, port, address } of this.#refused.splice(0)) this.#send(socket, data, port, address);
  }

  #listen(host: string, port: number): Bun.TCPSocketListener<Connection> {
    return Bun.listen<Connection>({
      hostname: host,
      port,
      socket: {
        open: (socket) => {
          socket.data = { received: Buffer.alloc(0), unsent: [], pending: 0 };
          if (++this.#connections > maxConnections) socket.terminate();
          else socket.timeout(idle);
        },
        data: (socket, data) => {
          socket.timeout(idle);
          this.#stream(socket, data);
        },
        drain: (socket) => flush(socket),
        timeout: (socket) => void socket.end(),
        close: () => {
          this.#connections--;
        },
        error: (_socket, error) => this.#log.info("TCP connection failed", { err: error.message }, 4),
      },
    });
  }

  #stream(socket: Bun.Socket<Connection>, data: Buffer): void {
    const { data: c } = socket;
    c.received = c.received.length === 0 ? Buffer.from(data) : Buffer.concat([c.received, data]);
    while (c.received.length >= 2) {
      const length = c.received.readUInt16BE(0);
      if (c.received.length < 2 + length) return;
      const message = c.received.subarray(2, 2 + length);
      c.received = c.received.subarray(2 + length);
      if (c.pending >= maxPipelined) {
        socket.terminate();
        return;
      }
      const answer = this.#answer(message, true);
      if (answer instanceof Promise) {
        c.pending++;
        void answer.then((a) => {
          c.pending--;
          if (a) write(socket, a.bytes);
        });
      } else if (answer) write(socket, answer.bytes);
      else socket.end();
    }
  }
}

/** Bun's errors of sockets leave out the port. */
function named(error: unknown, host: string, port: number): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  return Object.assign(new Error(`can't listen on ${host}:${port} for DNS: ${message}`, { cause: error }), { code });
}

interface Connection {
  received: Buffer;
  unsent: Uint8Array[];
  pending: number;
}

function write(socket: Bun.Socket<Connection>, message: Uint8Array): void {
  const framed = new Uint8Array(message.length + 2);
  putU16(framed, 0, message.length);
  framed.set(message, 2);
  socket.data.unsent.push(framed);
  flush(socket);
}

function flush(socket: Bun.Socket<Connection>): void {
  const { unsent } = socket.data;
  for (let first = unsent[0]; first; first = unsent[0]) {
    const sent = socket.write(first);
    if (sent < 0) return;
    if (sent < first.length) {
      unsent[0] = first.subarray(sent);
      return;
    }
    unsent.shift();
  }
}
