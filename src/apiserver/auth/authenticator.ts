// Who sends a request: a client certificate, a bearer token, or nobody known.
import { timingSafeEqual } from "node:crypto";
import { unauthorized } from "../../api/status.ts";
import { anonymous, type UserInfo } from "../request.ts";
import type { ServiceAccountTokens } from "./service-account-tokens.ts";

export interface StaticToken {
  token: string;
  user: string;
  uid?: string;
  groups?: string[];
}

/** The subject of a verified client certificate, as node:tls gives it. */
export interface CertificateSubject {
  CN?: string | string[];
  O?: string | string[];
}

export interface Credentials {
  subject?: CertificateSubject;
  /** What is wrong with a certificate that was shown and not verified. */
  certificateError?: string;
  /** The Authorization header. */
  authorization?: string;
}

export interface AuthenticatorOptions {
  tokens?: readonly StaticToken[];
  serviceAccounts?: ServiceAccountTokens;
}

const AUTHENTICATED = "system:authenticated";
const list = (value: string | string[] | undefined): string[] => (value === undefined ? [] : Array.isArray(value) ? value : [value]);

function sameText(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

/** CN is the user and each O a group (x509 request authentication). */
function certificateUser(subject: CertificateSubject): UserInfo | undefined {
  const [name] = list(subject.CN);
  return name ? { name, groups: [...list(subject.O), AUTHENTICATED] } : undefined;
}

export class Authenticator {
  readonly #options: AuthenticatorOptions;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** Throws a 401 for credentials that are there and wrong; none at all is the anonymous user. */
  async authenticate({ subject, certificateError, authorization }: Credentials): Promise<UserInfo> {
    const user = subject && certificateUser(subject);
    if (user) return user;
    const nobody = () => {
      if (certificateError !== undefined) throw unauthorized();
      return anonymous;
    };
    if (authorization === undefined) return nobody();
    const token = /^bearer +(\S+)$/i.exec(authorization.trim())?.[1];
    // Other schemes are somebody else's, as upstream has it: without a bearer token nobody is known.
    if (token === undefined) return nobody();
    const known = this.#staticUser(token) ?? (await this.#options.serviceAccounts?.verify(token));
    if (!known) throw unauthorized();
    return known;
  }

  #staticUser(token: string): UserInfo | undefined {
    const row = this.#options.tokens?.find((t) => sameText(t.token, token));
    return row && { name: row.user, groups: [...(row.groups ?? []), AUTHENTICATED], ...(row.uid ? { uid: row.uid } : {}) };
  }
}

/** A static token file: `token,user,uid,"group1,group2"` a line. Throws with the line that is wrong. */
export function parseTokenFile(text: string): StaticToken[] {
  return text
    .split("\n")
    .map((line, i) => ({ line: line.trim(), number: i + 1 }))
    .filter(({ line }) => line !== "" && !line.startsWith("#"))
    .map(({ line, number }) => {
      const m = /^([^,]+),([^,]+),([^,]*)(?:,(?:"([^"]*)"|([^,]*)))?$/.exec(line);
      if (!m) throw new Error(`token file line ${number}: must be token,user,uid[,"group1,group2"]`);
      const groups = (m[4] ?? m[5] ?? "").split(",").filter(Boolean);
      return { token: m[1]!.trim(), user: m[2]!.trim(), uid: m[3]!.trim(), groups };
    });
}
