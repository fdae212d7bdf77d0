// What other servers answered, for as long as it holds and, while they are away,
// a day longer (RFC 2308, 8767). A core: it is told the time, in milliseconds.
import { RCODE, readName, type ScannedRecord, scan, TYPE, u32, withoutOpt } from "./wire.ts";

export interface CacheOptions {
  /** Most answers kept; default 10 000. */
  capacity?: number;
  /** Longest time in seconds for names that are there and that are not; default 30, as CoreDNS in clusters. */
  maxTtl?: number;
  maxNegativeTtl?: number;
  /** Seconds after its end that an answer may still be given; default one day. */
  maxStale?: number;
}

export interface Cached {
  /** The response, without OPT. */
  message: Uint8Array;
  /** Where records have their TTL, and the one they came with. */
  ttls: readonly (readonly [at: number, ttl: number])[];
  negative: boolean;
  stored: number;
  /** When it ends, in milliseconds. */
  expires: number;
}

/** Seconds that a failure is remembered (RFC 2308, section 7.1, allows five minutes). */
const failureTtl = 5;
/** TTL in seconds of an answer that is past its end (RFC 8767, section 4). */
const staleTtl = 30;

export class AnswerCache {
  readonly #entries = new Map<string, Cached>();
  readonly #capacity: number;
  readonly #maxTtl: number;
  readonly #maxNegativeTtl: number;
  readonly #maxStale: number;

  constructor(options: CacheOptions = {}) {
    this.#capacity = options.capacity ?? 10_000;
    this.#maxTtl = options.maxTtl ?? 30;
    this.#maxNegativeTtl = options.maxNegativeTtl ?? 30;
    this.#maxStale = (options.maxStale ?? 86_400) * 1000;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** An answer that still holds, or with `stale` one that did; undefined for none. */
  get(key: string, now: number, stale = false): Cached | undefined {
    const found = this.#entries.get(key);
    if (!found || now >= found.expires + (stale ? this.#maxStale : 0)) return undefined;
    return found;
  }

  /** Keeps a response, and returns it as it is kept. Throws a WireError when it is malformed. */
  put(key: string, response: Uint8Array, now: number): Cached {
    const message = withoutOpt(response, scan(response));
    const { records, rcode, truncated } = scan(message);
    const answered = records.some((r) => r.section === "answer");
    const failed = rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN;
    const negative = !answered || rcode === RCODE.NXDOMAIN;
    const ttls = records.map((r) => [r.ttlAt, u32(message, r.ttlAt) & 0x7fffffff] as const);
    const seconds = failed ? failureTtl : negative ? negativeTtl(message, records, this.#maxNegativeTtl) : least(ttls, this.#maxTtl);
    const entry: Cached = { message, ttls, negative, stored: now, expires: now + seconds * 1000 };
    // A failure must not push out what may be given while it lasts.
    const keeps = failed && this.get(key, now, true) !== undefined;
    if (seconds > 0 && !truncated && !keeps) {
      this.#entries.delete(key);
      this.#entries.set(key, entry);
      if (this.#entries.size > this.#capacity) this.#entries.delete(this.#entries.keys().next().value!);
    }
    return entry;
  }
}

function least(ttls: readonly (readonly [number, number])[], most: number): number {
  return Math.min(most, ...ttls.map(([, ttl]) => ttl));
}

/** The SOA's TTL or its minimum, whichever ends first; without SOA nothing may be kept. */
function negativeTtl(message: Uint8Array, records: readonly ScannedRecord[], most: number): number {
  const soa = records.find((r) => r.type === TYPE.SOA && r.section === "authority");
  return soa ? Math.min(most, u32(message, soa.ttlAt), u32(message, soa.end - 4)) : 0;
}

/** The TTLs as they are now: what is left, or a short time when the answer is past its end. */
export function ttlsAt(entry: Cached, now: number): [at: number, ttl: number][] {
  const passed = Math.floor((now - entry.stored) / 1000);
  const stale = now >= entry.expires;
  return entry.ttls.map(([at, ttl]) => [at, stale ? staleTtl : Math.max(0, ttl - passed)]);
}

/** Names of A, AAAA and CNAME answers in a response, so that a chain can be told again from its start. */
export function chainOf(message: Uint8Array): { name: string; type: number; data: Uint8Array | string }[] {
  return scan(message)
    .records.filter((r) => r.section === "answer" && (r.type === TYPE.A || r.type === TYPE.AAAA || r.type === TYPE.CNAME))
    .map((r) => ({
      name: readName(message, r.start),
      type: r.type,
      data: r.type === TYPE.CNAME ? readName(message, r.dataAt) : message.slice(r.dataAt, r.end),
    }));
}
