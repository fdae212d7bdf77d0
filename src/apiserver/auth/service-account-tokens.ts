// Tokens of service accounts: signed here, and valid only while what they are
// bound to is there (k8s.io/kubernetes/pkg/serviceaccount).
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import type * as authenticationV1 from "../../api/gen/authentication/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import { invalid } from "../../api/status.ts";
import type { UserInfo } from "../request.ts";

type Lookup = (namespace: string, name: string) => KubeObject | undefined;

export interface ServiceAccountTokenOptions {
  issuer: string;
  /** PEM; without it tokens are only checked. */
  signingKeyPem?: string;
  publicKeysPem: readonly string[];
  /** What a token is for when its request names nothing; [issuer] when absent. */
  audiences?: readonly string[];
  lookup: { serviceAccount: Lookup; pod: Lookup; secret: Lookup; node(name: string): KubeObject | undefined };
}

interface Reference {
  name: string;
  uid: string;
}

interface Claims {
  sub?: string;
  exp?: number;
  aud?: string | string[];
  jti?: string;
  "kubernetes.io"?: { namespace: string; serviceaccount: Reference; pod?: Reference; secret?: Reference; node?: Reference };
}

export interface BoundObject {
  kind: "Pod" | "Secret" | "Node";
  name: string;
  uid: string;
  /** The node of a bound pod. */
  node?: Reference;
}

const EXTRA = "authentication.kubernetes.io";
const MIN_SECONDS = 600;
const MAX_SECONDS = 2 ** 32;
/** Checked signatures that are kept, by token. */
const CACHE = 1000;

export class ServiceAccountTokens {
  readonly #options: ServiceAccountTokenOptions;
  readonly #audiences: readonly string[];
  readonly #signing: KeyObject | undefined;
  readonly #keys: KeyObject[];
  readonly #checked = new Map<string, Claims>();

  constructor(options: ServiceAccountTokenOptions) {
    this.#options = options;
    this.#audiences = options.audiences?.length ? options.audiences : [options.issuer];
    this.#signing = options.signingKeyPem ? createPrivateKey(options.signingKeyPem) : undefined;
    this.#keys = options.publicKeysPem.map((pem) => createPublicKey(pem));
  }

  /** The account that a token stands for; undefined for one that is not, or no longer, valid. */
  async verify(token: string, audiences: readonly string[] = this.#audiences): Promise<UserInfo | undefined> {
    const claims = this.#checked.get(token) ?? (await this.#check(token));
    if (!claims || (claims.exp ?? 0) * 1000 <= Date.now()) return undefined;
    const meant = [claims.aud ?? []].flat();
    if (!meant.some((a) => audiences.includes(a))) return undefined;
    return this.#user(claims);
  }

  async #check(token: string): Promise<Claims | undefined> {
    const [{ jwtVerify }, errors] = await Promise.all([import("jose/jwt/verify"), import("jose/errors")]);
    for (const key of this.#keys) {
      try {
        const { payload } = await jwtVerify(token, key, { issuer: this.#options.issuer });
        if (this.#checked.size >= CACHE) this.#checked.clear();
        this.#checked.set(token, payload as Claims);
        return payload as Claims;
      } catch (e) {
        // Signed by another key, expired, or no token at all: all mean that this key does not vouch for it.
        if (!(e instanceof errors.JOSEError) && !(e instanceof TypeError)) throw e;
      }
    }
    return undefined;
  }

  #user(claims: Claims): UserInfo | undefined {
    const k = claims["kubernetes.io"];
    if (!k) return undefined;
    const { lookup } = this.#options;
    const alive = (ref: Reference | undefined, found: KubeObject | undefined) => ref === undefined || found?.metadata.uid === ref.uid;
    if (!alive(k.serviceaccount, lookup.serviceAccount(k.namespace, k.serviceaccount.name))) return undefined;
    if (k.pod && !alive(k.pod, lookup.pod(k.namespace, k.pod.name))) return undefined;
    if (k.secret && !alive(k.secret, lookup.secret(k.namespace, k.secret.name))) return undefined;
    const extra: Record<string, string[]> = {};
    if (claims.jti) extra[`${EXTRA}/credential-id`] = [`JTI=${claims.jti}`];
    if (k.pod) {
      extra[`${EXTRA}/pod-name`] = [k.pod.name];
      extra[`${EXTRA}/pod-uid`] = [k.pod.uid];
    }
    if (k.node) {
      extra[`${EXTRA}/node-name`] = [k.node.name];
      extra[`${EXTRA}/node-uid`] = [k.node.uid];
    }
    return {
      name: `system:serviceaccount:${k.namespace}:${k.serviceaccount.name}`,
      uid: k.serviceaccount.uid,
      groups: ["system:serviceaccounts", `system:serviceaccounts:${k.namespace}`, "system:authenticated"],
      extra,
    };
  }

  /** What a token of this request is for. */
  audiencesOf(spec: authenticationV1.TokenRequestSpec): string[] {
    return [...(spec.audiences?.length ? spec.audiences : this.#audiences)];
  }

  /** Signs a token. Throws a 422 for a lifetime out of range. */
  async create(
    account: { namespace: string } & Reference,
    spec: authenticationV1.TokenRequestSpec,
    bound?: BoundObject,
  ): Promise<{ token: string; expirationTimestamp: string }> {
    if (!this.#signing)
      throw new Error("this apiserver has no key to sign service account tokens with (--service-account-signing-key-file)");
    const seconds = spec.expirationSeconds ?? 3600;
    const refuse = (message: string) =>
      invalid({ group: "authentication.k8s.io", kind: "TokenRequest" }, "", [
        { reason: "FieldValueInvalid", field: "spec.expirationSeconds", message: `Invalid value: ${seconds}: ${message}` },
      ]);
    if (seconds < MIN_SECONDS) throw refuse("may not specify a duration less than 10 minutes");
    if (seconds > MAX_SECONDS) throw refuse("may not specify a duration larger than 2^32 seconds");
    const now = Math.floor(Date.now() / 1000);
    // The part that signs, of a library that is four times as large: the first pod waits for it.
    const { SignJWT } = await import("jose/jwt/sign");
    const audiences = this.audiencesOf(spec);
    const reference = bound && {
      [bound.kind.toLowerCase()]: { name: bound.name, uid: bound.uid },
      ...(bound.node ? { node: bound.node } : {}),
    };
    const claims = {
      "kubernetes.io": { namespace: account.namespace, serviceaccount: { name: account.name, uid: account.uid }, ...reference },
    };
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg: this.#signing.asymmetricKeyType === "rsa" ? "RS256" : "ES256" })
      .setIssuer(this.#options.issuer)
      .setSubject(`system:serviceaccount:${account.namespace}:${account.name}`)
      .setAudience(audiences)
      .setJti(crypto.randomUUID())
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + seconds)
      .sign(this.#signing);
    return { token, expirationTimestamp: new Date((now + seconds) * 1000).toISOString().replace(/\.\d+Z$/, "Z") };
  }
}
