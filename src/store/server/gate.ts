// Who calls: from the token in a call's metadata, or its client certificate.
// While auth is off, this is one boolean.
import { X509Certificate } from "node:crypto";
import type { HandlerContext } from "../../rpc/types.ts";
import type { JwtTokens } from "../auth/jwt.ts";
import { parseTokenOptions, type TokenOptions } from "../auth/options.ts";
import { DEFAULT_COST } from "../auth/password.ts";
import { ANONYMOUS, type Author } from "../auth/types.ts";
import type { Member } from "../member.ts";
import { Refused } from "../mvcc/errors.ts";

export interface AuthOptions {
  /** Default simple. */
  token?: TokenOptions;
  /** Milliseconds that an unused simple token lasts. Default 5 minutes, as etcd's. */
  tokenTtl?: number;
  bcryptCost?: number;
  /** The common name of a client's certificate is its user, where it gives no token. */
  certificateUsers?: boolean;
}

export class Gate {
  readonly bcryptCost: number;
  readonly #member: Member;
  readonly #certificateUsers: boolean;
  readonly #jwt: JwtTokens | undefined;

  private constructor(member: Member, options: AuthOptions, jwt: JwtTokens | undefined) {
    this.#member = member;
    this.#jwt = jwt;
    this.bcryptCost = options.bcryptCost ?? DEFAULT_COST;
    this.#certificateUsers = options.certificateUsers ?? false;
    if (options.tokenTtl) member.state.auth.tokens.ttl = options.tokenTtl;
  }

  /** Throws what is wrong with the keys of tokens. */
  static async open(member: Member, options: AuthOptions = {}): Promise<Gate> {
    const token = options.token ?? parseTokenOptions("simple");
    if (token.kind === "simple") return new Gate(member, options, undefined);
    const { JwtTokens } = await import("../auth/jwt.ts");
    return new Gate(member, options, await JwtTokens.open(token));
  }

  /** Whether anything is checked. */
  get on(): boolean {
    return this.#member.state.auth.enabled;
  }

  /**
   * Runs what a client asks for as its user. Where the revision of auth
   * changed on the way, once more with the new one; what is refused has changed nothing.
   */
  as<T>(call: HandlerContext, run: (by: Author) => Promise<T>): Promise<T> {
    if (!this.on) return run(ANONYMOUS);
    return this.#as(call, run);
  }

  async #as<T>(call: HandlerContext, run: (by: Author) => Promise<T>): Promise<T> {
    for (;;) {
      const by = await this.author(call);
      try {
        return await run(by);
      } catch (error) {
        if (!(error instanceof Refused) || error.refusal !== "auth-old-revision") throw error;
        const now = await this.author(call);
        // A JWT stays as old as it is.
        if (now.revision <= by.revision) throw error;
      }
    }
  }

  /** @throws Refused "invalid-auth-token" */
  author(call: HandlerContext): Author | Promise<Author> {
    const headers = call.requestHeaders;
    const token = headers.get("token") ?? headers.get("authorization")?.replace(/^Bearer /, "");
    if (token !== undefined) return this.#ofToken(token);
    if (this.#certificateUsers && call.peerCertificate) {
      return { user: commonName(call.peerCertificate), revision: this.#member.state.auth.revision };
    }
    return ANONYMOUS;
  }

  /** Whether a call of gRPC with this certificate and no token would be its user's. */
  wouldNameUser(certificate: Uint8Array): boolean {
    return this.#certificateUsers && this.on && commonName(certificate) !== "";
  }

  /** A token for a user whose password was checked at that revision. */
  async issue(user: string): Promise<string> {
    const { auth } = this.#member.state;
    if (this.#jwt) {
      auth.mayAuthenticate(user);
      return this.#jwt.sign({ user, revision: auth.revision });
    }
    return (await this.#member.propose({ type: "auth", change: { do: "authenticate", user, token: randomLetters() } })).token!;
  }

  #ofToken(token: string): Author | Promise<Author> {
    if (this.#jwt) {
      const found = this.#jwt.find(token);
      return found instanceof Promise ? found.then(known) : known(found);
    }
    const author = this.#ofSimple(token);
    if (author) return author;
    // It may have been given by another member, in an entry that this one has not applied yet.
    const index = Number(/^[^.]+\.(\d+)$/.exec(token)?.[1] ?? 0);
    if (index <= this.#member.state.index) throw new Refused("invalid-auth-token");
    return Promise.resolve(this.#member.consensus.readBarrier()).then(() => known(this.#ofSimple(token)));
  }

  #ofSimple(token: string): Author | undefined {
    const { auth } = this.#member.state;
    const user = auth.tokens.use(token, performance.now());
    return user === undefined ? undefined : { user, revision: auth.revision };
  }
}

function known(author: Author | undefined): Author {
  if (!author) throw new Refused("invalid-auth-token");
  return author;
}

/** Worked out once a connection, whose calls share the bytes. */
const names = new WeakMap<Uint8Array, string>();

function commonName(certificate: Uint8Array): string {
  let name = names.get(certificate);
  if (name === undefined) {
    // The last one counts, as in Go.
    name = [...new X509Certificate(certificate).subject.matchAll(/^CN=(.*)$/gm)].at(-1)?.[1] ?? "";
    names.set(certificate, name);
  }
  return name;
}

function randomLetters(): string {
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  let token = "";
  while (token.length < 16) {
    // Numbers past the last whole round of letters would favour some.
    for (const n of crypto.getRandomValues(new Uint8Array(32))) if (n < 208 && token.length < 16) token += letters[n % 52];
  }
  return token;
}
