// Questions about names that are not the cluster's go to the node's resolvers,
// each asked once at a time; answers are kept, and outlive the resolvers' absence.
import { type Logger, logger } from "../platform/log.ts";
import { AnswerCache, type Cached, type CacheOptions } from "./cache.ts";
import { exchange, type Question } from "./exchange.ts";
import type { Metrics } from "./metrics.ts";
import type { UpstreamAddress } from "./resolv-conf.ts";
import { encodeQuestion, RCODE, TYPE } from "./wire.ts";

export interface ForwarderOptions {
  /** The resolvers to ask, in order; asked for at each question. */
  upstreams(now: number): readonly UpstreamAddress[];
  cache?: CacheOptions;
  /** Questions under way at the same time; more are refused. Default 1000. */
  maxConcurrent?: number;
  /** Milliseconds for one try at one resolver; default 1500. */
  timeout?: number;
  metrics: Metrics;
  now?: () => number;
  log?: Logger;
}

/** Milliseconds after which a client gets an old answer rather than wait on (RFC 8767, section 5). */
const patience = 1800;
/** Milliseconds that a resolver which does not answer is left alone, at first and at most. */
const firstPause = 500;
const longestPause = 15_000;
const rounds = 2;

interface Health {
  failures: number;
  /** Left alone until then. */
  until: number;
  /** "known" once it is sure that it does not ask us. */
  loop: "unknown" | "known" | "loops";
}

export type Outcome = { cached: Cached; stale: boolean; hit: boolean } | { rcode: number };

export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #cache: AnswerCache;
  readonly #now: () => number;
  readonly #log: Logger;
  readonly #health = new Map<string, Health>();
  readonly #asking = new Map<string, Promise<Cached | undefined>>();
  /** Names that we ask resolvers for to see whether the question comes back to us. */
  readonly #probes = new Map<string, string>();

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#cache = new AnswerCache(options.cache);
    this.#now = options.now ?? Date.now;
    this.#log = options.log ?? logger("dns");
  }

  /** An answer that holds still; undefined when it has to be asked for. */
  cached(key: string): Cached | undefined {
    return this.#cache.get(key, this.#now());
  }

  /** `key` names the question without its letters' case. */
  async resolve(key: string, question: Question): Promise<Outcome> {
    const { metrics, maxConcurrent = 1000 } = this.#options;
    const fresh = this.cached(key);
    if (fresh) {
      metrics.hit(fresh.negative);
      return { cached: fresh, stale: false, hit: true };
    }
    metrics.missed();
    const stale = this.#cache.get(key, this.#now(), true);
    let asking = this.#asking.get(key);
    if (!asking) {
      if (this.#asking.size >= maxConcurrent) {
        metrics.rejected();
        return stale ? this.#serveStale(stale) : { rcode: RCODE.REFUSED };
      }
      asking = this.#ask(key, question).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    if (!stale) {
      const cached = await asking;
      return cached ? { cached, stale: false, hit: false } : { rcode: RCODE.SERVFAIL };
    }
    // With all of them away there is nothing to wait for; the question goes out all the same.
    const answer = await Promise.race([asking, after(this.#allAway() ? 0 : patience)]);
    return answer && !failed(answer) ? { cached: answer, stale: false, hit: false } : this.#serveStale(stale);
  }

  #serveStale(cached: Cached): Outcome {
    this.#options.metrics.servedStale();
    return { cached, stale: true, hit: true };
  }

  #allAway(): boolean {
    const now = this.#now();
    return this.#options.upstreams(now).every((u) => this.#healthOf(u).until > now || this.#healthOf(u).loop === "loops");
  }

  #healthOf(upstream: UpstreamAddress): Health {
    const key = `${upstream.host}#${upstream.port}`;
    let health = this.#health.get(key);
    if (!health) {
      health = { failures: 0, until: 0, loop: "unknown" };
      this.#health.set(key, health);
      this.#probe(upstream, health);
    }
    return health;
  }

  /** Healthy ones in order, then those that failed, longest ago first: all may only seem to be away. */
  #candidates(): UpstreamAddress[] {
    const now = this.#now();
    const usable = this.#options.upstreams(now).filter((u) => this.#healthOf(u).loop !== "loops");
    const until = (u: UpstreamAddress) => Math.max(0, this.#healthOf(u).until - now);
    return [...usable].sort((a, b) => until(a) - until(b));
  }

  async #ask(key: string, question: Question): Promise<Cached | undefined> {
    let refusal: Uint8Array | undefined;
    for (let round = 0; round < rounds; round++) {
      for (const upstream of this.#candidates()) {
        const began = performance.now();
        try {
          const response = await exchange(upstream, question, this.#options.timeout ?? 1500);
          this.#options.metrics.forwarded(`${upstream.host}:${upstream.port}`, performance.now() - began);
          this.#answered(upstream);
          const rcode = response[3]! & 15;
          // Another resolver may do better than one that failed or refused.
          if (rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN) return this.#cache.put(key, response, this.#now());
          refusal = response;
        } catch (error) {
          this.#failed(upstream, error);
        }
      }
      if (refusal) break;
    }
    return refusal && this.#cache.put(key, refusal, this.#now());
  }

  #answered(upstream: UpstreamAddress): void {
    const health = this.#healthOf(upstream);
    if (health.failures > 1) this.#log.info("Resolver answers again", { resolver: `${upstream.host}:${upstream.port}` });
    health.failures = 0;
    health.until = 0;
  }

  #failed(upstream: UpstreamAddress, error: unknown): void {
    const health = this.#healthOf(upstream);
    health.failures++;
    health.until = this.#now() + Math.min(longestPause, firstPause * 2 ** (health.failures - 1));
    this.#options.metrics.upstreamFailed(`${upstream.host}:${upstream.port}`);
    if (health.failures === 2)
      this.#log.warn("Resolver does not answer", {
        resolver: `${upstream.host}:${upstream.port}`,
        err: error instanceof Error ? error.message : String(error),
      });
  }

  // Loops: a resolver that asks us what we ask it would keep both busy for ever.

  #probe(upstream: UpstreamAddress, health: Health): void {
    const name = `${crypto.randomUUID()}.loop-probe.kubun`;
    const key = `${upstream.host}#${upstream.port}`;
    this.#probes.set(name, key);
    const question = { section: encodeQuestion(name, TYPE.HINFO), dnssecOk: false, checkingDisabled: false };
    void exchange(upstream, question, 2000)
      .catch((error: unknown) => this.#log.info("No answer to a loop probe", { err: String(error) }, 4))
      .finally(() => {
        this.#probes.delete(name);
        if (health.loop === "unknown") health.loop = "known";
      });
  }

  /** Whether the question is one of our probes, come back by way of a resolver, which is then left out. */
  isLoop(name: string): boolean {
    const key = this.#probes.get(name);
    const health = key === undefined ? undefined : this.#health.get(key);
    if (!health) return false;
    if (health.loop !== "loops")
      this.#log.error(
        "Resolver asks this server what it is asked, so it is left out: give --upstream or another --resolv-conf",
        undefined,
        {
          resolver: key?.replace("#", ":"),
        },
      );
    health.loop = "loops";
    return true;
  }
}

const failed = (cached: Cached) => {
  const rcode = cached.message[3]! & 15;
  return rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN;
};
const after = (ms: number) => new Promise<undefined>((resolve) => setTimeout(resolve, ms));
