// From the bytes of a query to the bytes of its answer: from the zone, from the
// forwarder, or refused.
import { type Cached, chainOf, ttlsAt } from "./cache.ts";
import type { Forwarder } from "./forwarder.ts";
import {
  CLASS_IN,
  encodeError,
  encodeQuestion,
  encodeReply,
  parseQuery,
  type Query,
  RCODE,
  type Reply,
  type ResourceRecord,
  relay,
  TYPE,
  WireError,
} from "./wire.ts";
import type { Zone } from "./zone.ts";

export interface Answer {
  bytes: Uint8Array;
  rcode: number;
  type: number;
  /** Other orders of the same answer, given in turn to the same question. */
  rotations?: readonly Uint8Array[];
  /** Valid while the zone is of this generation; undefined when it may not be given again. */
  generation?: number;
}

/** What a UDP client may be sent at most, whatever it says it can receive. */
const maxUdp = 4096;
/** More addresses than this are shuffled no further. */
const maxRotations = 16;

const udpLimit = (query: Query) => Math.min(maxUdp, query.edns?.size ?? 512);

export class Answerer {
  readonly #zone: Zone;
  readonly #forwarder: Forwarder;

  constructor(zone: Zone, forwarder: Forwarder) {
    this.#zone = zone;
    this.#forwarder = forwarder;
  }

  /** The answer, at once where that is possible; undefined for what must not be answered. */
  answer(message: Uint8Array, tcp: boolean): Answer | Promise<Answer> | undefined {
    // Answering a response would let two servers talk for ever.
    if (message.length < 12 || (message[2]! & 0x80) !== 0) return undefined;
    let query: Query;
    try {
      query = parseQuery(message);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return { bytes: encodeError(message, error.rcode), rcode: error.rcode, type: 0 };
    }
    const limit = tcp ? 65_535 : udpLimit(query);
    if (query.edns && query.edns.version > 0) return this.#plain(query, limit, RCODE.BADVERS);
    if (query.class !== CLASS_IN) return this.#plain(query, limit, RCODE.REFUSED);
    if (this.#zone.owns(query.name)) return this.#own(query, limit);
    if (query.name.endsWith(".arpa")) {
      const reply = this.#zone.reverse(query.name, query.type);
      if (reply) return this.#reply(query, reply, limit);
    }
    if (this.#forwarder.isLoop(query.name)) return this.#plain(query, limit, RCODE.SERVFAIL);
    return this.#forward(query, limit);
  }

  #plain(query: Query, limit: number, rcode: number): Answer {
    const bytes = encodeReply(query, { rcode, authoritative: false, answers: [] }, limit);
    return { bytes, rcode, type: query.type };
  }

  #reply(query: Query, reply: Reply, limit: number): Answer {
    const { generation } = this.#zone;
    const bytes = encodeReply(query, reply, limit);
    const { answers } = reply;
    const several = answers.length > 1 && (query.type === TYPE.A || query.type === TYPE.AAAA);
    if (!several) return { bytes, rcode: reply.rcode, type: query.type, generation };
    const rotations = Array.from({ length: Math.min(maxRotations, answers.length) }, (_, i) =>
      encodeReply(query, { ...reply, answers: [...answers.slice(i), ...answers.slice(0, i)] }, limit),
    );
    return { bytes, rcode: reply.rcode, type: query.type, generation, rotations };
  }

  #own(query: Query, limit: number): Answer | Promise<Answer> {
    const reply = this.#zone.lookup(query.name, query.type);
    const wantsMore = query.type === TYPE.A || query.type === TYPE.AAAA;
    if (reply.external === undefined || !wantsMore) return this.#reply(query, reply, limit);
    return this.#chase(query, reply, reply.external, limit);
  }

  /** An ExternalName with the addresses that its target has. */
  async #chase(query: Query, reply: Reply, target: string, limit: number): Promise<Answer> {
    let more: readonly ResourceRecord[] = [];
    if (this.#zone.owns(target)) more = this.#zone.lookup(target, query.type).answers;
    else {
      const outcome = await this.#forwarder.resolve(`${query.type} 0 ${target}`, {
        section: encodeQuestion(target, query.type),
        dnssecOk: false,
        checkingDisabled: false,
      });
      if ("rcode" in outcome) return this.#plain(query, limit, outcome.rcode);
      more = records(outcome.cached);
    }
    const bytes = encodeReply(query, { ...reply, authoritative: false, answers: [...reply.answers, ...more] }, limit);
    return { bytes, rcode: reply.rcode, type: query.type };
  }

  #forward(query: Query, limit: number): Answer | Promise<Answer> {
    const dnssecOk = query.edns?.dnssecOk ?? false;
    const key = `${query.type} ${Number(dnssecOk)}${query.checkingDisabled ? "c" : ""} ${query.name}`;
    return this.#forwarder.resolve(key, { section: query.question, dnssecOk, checkingDisabled: query.checkingDisabled }).then((outcome) => {
      if ("rcode" in outcome) return this.#plain(query, limit, outcome.rcode);
      const { message } = outcome.cached;
      return {
        bytes: relay(query, message, ttlsAt(outcome.cached, Date.now()), limit),
        rcode: message[3]! & 15,
        type: query.type,
      };
    });
  }
}

function records(cached: Cached): ResourceRecord[] {
  const ttl = Math.max(0, Math.min(...ttlsAt(cached, Date.now()).map(([, t]) => t)));
  return chainOf(cached.message).map(({ name, type, data }) => ({
    name,
    ttl: Number.isFinite(ttl) ? ttl : 0,
    data: typeof data === "string" ? { type: "CNAME", target: data } : { type: type === TYPE.A ? "A" : "AAAA", address: data },
  }));
}
