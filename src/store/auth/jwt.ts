// Tokens that say by themselves who holds them, as of which auth revision, and until when.
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { readFile } from "node:fs/promises";
import { jwtVerify, SignJWT } from "jose";
import { Refused } from "../mvcc/errors.ts";
import type { JwtOptions } from "./options.ts";
import type { Author } from "./types.ts";

/** Tokens whose signature has been verified, at most. */
const MOST_KNOWN = 4096;

export class JwtTokens {
  readonly #method: string;
  readonly #ttl: number;
  readonly #verifying: KeyObject | Uint8Array;
  readonly #signing: KeyObject | Uint8Array | undefined;
  /** Oldest first. */
  readonly #known = new Map<string, { author: Author; expiry: number }>();

  private constructor(options: JwtOptions, verifying: KeyObject | Uint8Array, signing: KeyObject | Uint8Array | undefined) {
    this.#method = options.method;
    this.#ttl = options.ttl;
    this.#verifying = verifying;
    this.#signing = signing;
  }

  /** Reads the keys. Throws what is wrong with them. */
  static async open(options: JwtOptions): Promise<JwtTokens> {
    const read = (path: string | undefined) => (path ? readFile(path) : undefined);
    const [publicKey, privateKey] = [await read(options.publicKey), await read(options.privateKey)];
    let tokens: JwtTokens;
    if (options.method.startsWith("HS")) tokens = new JwtTokens(options, privateKey!, privateKey);
    else {
      const signing = privateKey && createPrivateKey(privateKey);
      const own = signing && createPublicKey(signing);
      const given = publicKey && createPublicKey(publicKey);
      if (own && given && !given.equals(own)) throw new Error("auth: public and private keys don't match");
      tokens = new JwtTokens(options, (given ?? own)!, signing);
    }
    // A key of another kind than the method's would only show with the first client.
    if (tokens.#signing) await tokens.#verify(await tokens.sign({ user: "", revision: 0 }));
    return tokens;
  }

  /** @throws Refused "no-signing-key" */
  async sign({ user, revision }: Author): Promise<string> {
    if (!this.#signing) throw new Refused("no-signing-key");
    return new SignJWT({ username: user, revision })
      .setProtectedHeader({ alg: this.#method, typ: "JWT" })
      .setExpirationTime(Math.floor((Date.now() + this.#ttl) / 1000))
      .sign(this.#signing);
  }

  /** Undefined for a token that isn't one, or not any more. */
  find(token: string): Author | undefined | Promise<Author | undefined> {
    const known = this.#known.get(token);
    if (known && known.expiry > Date.now()) return known.author;
    if (known) this.#known.delete(token);
    return this.#verify(token).catch(() => undefined);
  }

  async #verify(token: string): Promise<Author | undefined> {
    const { payload } = await jwtVerify(token, this.#verifying, { algorithms: [this.#method] });
    const { username, revision, exp } = payload;
    if (typeof username !== "string" || typeof revision !== "number") return undefined;
    const author = { user: username, revision };
    if (this.#known.size >= MOST_KNOWN) this.#known.delete(this.#known.keys().next().value!);
    this.#known.set(token, { author, expiry: exp === undefined ? Number.POSITIVE_INFINITY : exp * 1000 });
    return author;
  }
}
