// One question to one other server: UDP from a fresh port, TCP when the answer
// does not fit (RFC 5452, 7766).
import type { UpstreamAddress } from "./resolv-conf.ts";
import { encodeQuery, putU16, scan } from "./wire.ts";

export interface Question {
  /** The question section. */
  section: Uint8Array;
  dnssecOk: boolean;
  checkingDisabled: boolean;
}

const randomId = () => crypto.getRandomValues(new Uint16Array(1))[0]!;
const lower = (byte: number) => (byte >= 65 && byte <= 90 ? byte + 32 : byte);

/** Whether a response is the one to our query. */
function answers(response: Uint8Array, id: number, section: Uint8Array): boolean {
  if (response.length < 12 + section.length) return false;
  if (((response[0]! << 8) | response[1]!) !== id) return false;
  return section.every((byte, i) => lower(byte) === lower(response[12 + i]!));
}

function timeout(ms: number, what: UpstreamAddress, reject: (e: Error) => void) {
  return setTimeout(() => reject(new Error(`no answer from ${what.host}:${what.port} in ${ms} ms`)), ms);
}

/** Bun 1.4 hands a UDP socket's error handler the error alone, where its types say the socket comes first. */
export const errorOf = (args: readonly unknown[]) => args.at(-1) as Error;

async function overUdp(to: UpstreamAddress, question: Question, ms: number): Promise<Uint8Array> {
  const id = randomId();
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const timer = timeout(ms, to, reject);
  let socket: { close(): void } | undefined;
  try {
    const opened = await Bun.udpSocket({
      connect: { hostname: to.host, port: to.port },
      socket: {
        data(_socket, data) {
          // What is not ours may be a late answer or a forged one: keep listening.
          if (answers(data, id, question.section)) resolve(new Uint8Array(data));
        },
        error: (...args: unknown[]) => reject(errorOf(args)),
      },
    });
    socket = opened;
    opened.send(encodeQuery(id, question.section, question));
    return await promise;
  } finally {
    clearTimeout(timer);
    socket?.close();
  }
}

async function overTcp(to: UpstreamAddress, question: Question, ms: number): Promise<Uint8Array> {
  const id = randomId();
  const query = encodeQuery(id, question.section, question);
  const framed = new Uint8Array(query.length + 2);
  putU16(framed, 0, query.length);
  framed.set(query, 2);
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const timer = timeout(ms, to, reject);
  let received = new Uint8Array(0);
  const connecting = Bun.connect({
    hostname: to.host,
    port: to.port,
    socket: {
      open(socket) {
        socket.write(framed);
      },
      data(_socket, data) {
        const joined = new Uint8Array(received.length + data.length);
        joined.set(received);
        joined.set(data, received.length);
        received = joined;
        if (received.length < 2) return;
        const length = (received[0]! << 8) | received[1]!;
        if (received.length < length + 2) return;
        const message = received.slice(2, length + 2);
        if (answers(message, id, question.section)) resolve(message);
        else reject(new Error(`${to.host}:${to.port} answered another question`));
      },
      close() {
        reject(new Error(`${to.host}:${to.port} closed the connection`));
      },
      error(_socket, error) {
        reject(error);
      },
    },
  });
  // A connection that fails after the time is over has nobody to tell.
  connecting.catch(reject);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    void connecting.then(
      (socket) => socket.end(),
      () => {},
    );
  }
}

/** The server's response. Throws when none comes in `ms` milliseconds. */
export async function exchange(to: UpstreamAddress, question: Question, ms: number): Promise<Uint8Array> {
  const response = await overUdp(to, question, ms);
  return scan(response).truncated ? overTcp(to, question, ms) : response;
}
