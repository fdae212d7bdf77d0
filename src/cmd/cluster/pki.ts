// The cluster's certificates and keys, laid out as kubeadm does (pki/ca.crt,
// pki/apiserver.crt, …), made on the first start and renewed before they end.
import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { issue, type KeyPair, newKeys, privatePem, publicPem } from "../../platform/certificate.ts";
import { writeAtomic, writeDurable } from "../../platform/files.ts";

const DAY = 86_400_000;

export type { KeyPair };

interface LeafSpec {
  /** File name below pki/, without an ending. */
  name: string;
  commonName: string;
  organizations?: string[];
  /** DNS names and addresses of a serving certificate; none for a client's. */
  hosts?: string[];
  /** A server that shows the same certificate where it is a client, as members of a store do to each other. */
  peer?: boolean;
}

const PRIVATE = 0o600;

/** From a moment ago, for clocks that are behind. */
const lifetime = (days: number) => ({ notBefore: new Date(Date.now() - 300_000), notAfter: new Date(Date.now() + days * DAY) });

/** The certificate authority and every certificate that it signed, in one folder. */
export class Pki {
  readonly #dir: string;
  readonly #issue: typeof issue;
  readonly ca: KeyPair;

  private constructor(dir: string, ca: KeyPair, by: typeof issue) {
    this.#dir = dir;
    this.ca = ca;
    this.#issue = by;
  }

  /** Opens the folder, or fills it with a new authority. Throws when only half of it is there. */
  static async open(dir: string, by: typeof issue = issue): Promise<Pki> {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const [certFile, keyFile] = [join(dir, "ca.crt"), join(dir, "ca.key")];
    if (existsSync(certFile) && existsSync(keyFile)) {
      return new Pki(dir, { cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") }, by);
    }
    if (existsSync(certFile))
      throw new Error(`${keyFile} is missing while ${certFile} is there: restore it, or delete the pki folder to make a new authority`);
    const pair = await by({
      commonName: "kubernetes",
      authority: true,
      hosts: ["kubernetes"],
      ...lifetime(3650),
    });
    writeDurable(keyFile, pair.key, PRIVATE);
    writeDurable(certFile, pair.cert);
    return new Pki(dir, pair, by);
  }

  /** A certificate that an earlier call made. */
  stored(name: string): KeyPair {
    const read = (ending: string) => readFileSync(join(this.#dir, `${name}.${ending}`), "utf8");
    return { cert: read("crt"), key: read("key") };
  }

  /**
   * A certificate signed by the authority: the stored one while it has 30 days
   * left, covers every host asked for and is whole, otherwise a new one for a year.
   */
  async leaf(spec: LeafSpec): Promise<KeyPair> {
    const [certFile, keyFile] = [join(this.#dir, `${spec.name}.crt`), join(this.#dir, `${spec.name}.key`)];
    if (existsSync(certFile) && existsSync(keyFile)) {
      const stored = { cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
      if (this.#stillGood(stored, spec)) return stored;
    }
    const pair = await this.#sign(spec);
    mkdirSync(join(certFile, ".."), { recursive: true, mode: 0o700 });
    writeAtomic(keyFile, pair.key, PRIVATE);
    writeAtomic(certFile, pair.cert);
    return pair;
  }

  #stillGood(pair: KeyPair, spec: LeafSpec): boolean {
    let cert: X509Certificate;
    try {
      cert = new X509Certificate(pair.cert);
      // Of another key, where a start was killed after it had written a new one.
      if (!cert.checkPrivateKey(createPrivateKey(pair.key))) return false;
    } catch {
      // Empty after a power cut.
      return false;
    }
    if (Date.parse(cert.validTo) - Date.now() < 30 * DAY) return false;
    if (!cert.verify(new X509Certificate(this.ca.cert).publicKey)) return false;
    const names = new Set((cert.subjectAltName ?? "").split(", ").map((n) => n.replace(/^(DNS|IP Address):/, "")));
    return (spec.hosts ?? []).every((h) => names.has(h));
  }

  #sign({ commonName, organizations, hosts, peer }: LeafSpec): Promise<KeyPair> {
    const usages = peer ? (["serverAuth", "clientAuth"] as const) : ([hosts ? "serverAuth" : "clientAuth"] as const);
    return this.#issue({ commonName, organizations, hosts, usages, ...lifetime(365) }, this.ca);
  }

  /** The key pair that signs service account tokens. */
  serviceAccountKeys(): { privateKey: string; publicKey: string } {
    const [keyFile, pubFile] = [join(this.#dir, "sa.key"), join(this.#dir, "sa.pub")];
    if (!existsSync(keyFile) || !existsSync(pubFile)) {
      const keys = newKeys();
      writeDurable(keyFile, privatePem(keys.privateKey), PRIVATE);
      writeDurable(pubFile, publicPem(keys.publicKey));
    }
    return { privateKey: readFileSync(keyFile, "utf8"), publicKey: readFileSync(pubFile, "utf8") };
  }
}
