// The cluster's certificates and keys, laid out as kubeadm does (pki/ca.crt,
// pki/apiserver.crt, …), made on the first start and renewed before they end.
import { X509Certificate } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const DAY = 86_400_000;
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

export interface KeyPair {
  /** PEM. */
  cert: string;
  key: string;
}

interface LeafSpec {
  /** File name below pki/, without an ending. */
  name: string;
  commonName: string;
  organizations?: string[];
  /** DNS names and addresses of a serving certificate; none for a client's. */
  hosts?: string[];
}

type X509 = typeof import("@peculiar/x509");

async function x509(): Promise<X509> {
  await import("reflect-metadata");
  return import("@peculiar/x509");
}

const pem = (label: string, der: ArrayBuffer) =>
  `-----BEGIN ${label}-----\n${Buffer.from(der)
    .toString("base64")
    .replace(/.{64}(?!$)/g, "$&\n")}\n-----END ${label}-----\n`;

async function exportKey(key: CryptoKey): Promise<string> {
  return pem("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", key));
}

const newKeys = () => crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]) as Promise<CryptoKeyPair>;

function serial(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0]! &= 0x7f;
  return Buffer.from(bytes).toString("hex");
}

/** Written aside and renamed, so that a crash leaves the old file or the new one. */
export function writePrivate(file: string, text: string): void {
  writeFileSync(`${file}.tmp`, text, { mode: 0o600 });
  chmodSync(`${file}.tmp`, 0o600);
  renameSync(`${file}.tmp`, file);
}

/** The certificate authority and every certificate that it signed, in one folder. */
export class Pki {
  readonly #dir: string;
  #signer: { issuer: string; key: CryptoKey } | undefined;
  readonly ca: KeyPair;

  private constructor(dir: string, ca: KeyPair) {
    this.#dir = dir;
    this.ca = ca;
  }

  /** Opens the folder, or fills it with a new authority. Throws when only half of it is there. */
  static async open(dir: string): Promise<Pki> {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const [certFile, keyFile] = [join(dir, "ca.crt"), join(dir, "ca.key")];
    if (existsSync(certFile) && existsSync(keyFile)) {
      return new Pki(dir, { cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") });
    }
    if (existsSync(certFile))
      throw new Error(`${keyFile} is missing while ${certFile} is there: restore it, or delete the pki folder to make a new authority`);
    const x = await x509();
    const keys = await newKeys();
    const now = Date.now();
    const ca = await x.X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(),
      name: "CN=kubernetes",
      notBefore: new Date(now - 300_000),
      notAfter: new Date(now + 3650 * DAY),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x.BasicConstraintsExtension(true, undefined, true),
        new x.KeyUsagesExtension(x.KeyUsageFlags.keyCertSign | x.KeyUsageFlags.digitalSignature | x.KeyUsageFlags.keyEncipherment, true),
        await x.SubjectKeyIdentifierExtension.create(keys.publicKey),
        new x.SubjectAlternativeNameExtension([{ type: "dns", value: "kubernetes" }]),
      ],
    });
    const pair = { cert: pem("CERTIFICATE", ca.rawData), key: await exportKey(keys.privateKey) };
    writePrivate(keyFile, pair.key);
    writeFileSync(certFile, pair.cert);
    return new Pki(dir, pair);
  }

  /**
   * A certificate signed by the authority: the stored one while it has 30 days
   * left and covers every host asked for, otherwise a new one for a year.
   */
  async leaf(spec: LeafSpec): Promise<KeyPair> {
    const [certFile, keyFile] = [join(this.#dir, `${spec.name}.crt`), join(this.#dir, `${spec.name}.key`)];
    if (existsSync(certFile) && existsSync(keyFile)) {
      const stored = { cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
      if (this.#stillGood(stored, spec)) return stored;
    }
    const pair = await this.#sign(spec);
    mkdirSync(join(certFile, ".."), { recursive: true, mode: 0o700 });
    writePrivate(keyFile, pair.key);
    writeFileSync(certFile, pair.cert);
    return pair;
  }

  #stillGood(pair: KeyPair, spec: LeafSpec): boolean {
    const cert = new X509Certificate(pair.cert);
    if (Date.parse(cert.validTo) - Date.now() < 30 * DAY) return false;
    if (!cert.verify(new X509Certificate(this.ca.cert).publicKey)) return false;
    const names = new Set((cert.subjectAltName ?? "").split(", ").map((n) => n.replace(/^(DNS|IP Address):/, "")));
    return (spec.hosts ?? []).every((h) => names.has(h));
  }

  async #sign(spec: LeafSpec): Promise<KeyPair> {
    const x = await x509();
    this.#signer ??= {
      issuer: new x.X509Certificate(this.ca.cert).subject,
      key: await crypto.subtle.importKey("pkcs8", Buffer.from(this.ca.key.replace(/-----.*?-----|\s/g, ""), "base64"), ALGORITHM, false, [
        "sign",
      ]),
    };
    const keys = await newKeys();
    const now = Date.now();
    const serving = spec.hosts !== undefined;
    const subject = [...(spec.organizations ?? []).map((o) => ({ O: [o] })), { CN: [spec.commonName] }];
    const cert = await x.X509CertificateGenerator.create({
      serialNumber: serial(),
      subject,
      issuer: this.#signer.issuer,
      notBefore: new Date(now - 300_000),
      notAfter: new Date(now + 365 * DAY),
      publicKey: keys.publicKey,
      signingKey: this.#signer.key,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x.BasicConstraintsExtension(false, undefined, true),
        new x.KeyUsagesExtension(x.KeyUsageFlags.digitalSignature | x.KeyUsageFlags.keyEncipherment, true),
        new x.ExtendedKeyUsageExtension([serving ? x.ExtendedKeyUsage.serverAuth : x.ExtendedKeyUsage.clientAuth]),
        await x.AuthorityKeyIdentifierExtension.create(new x.X509Certificate(this.ca.cert)),
        ...(serving
          ? [
              new x.SubjectAlternativeNameExtension(
                spec.hosts!.map((h) => ({ type: /^[\d.]+$|:/.test(h) ? ("ip" as const) : ("dns" as const), value: h })),
              ),
            ]
          : []),
      ],
    });
    return { cert: pem("CERTIFICATE", cert.rawData), key: await exportKey(keys.privateKey) };
  }

  /** The key pair that signs service account tokens. */
  async serviceAccountKeys(): Promise<{ privateKey: string; publicKey: string }> {
    const [keyFile, pubFile] = [join(this.#dir, "sa.key"), join(this.#dir, "sa.pub")];
    if (!existsSync(keyFile) || !existsSync(pubFile)) {
      const keys = await newKeys();
      writePrivate(keyFile, await exportKey(keys.privateKey));
      writeFileSync(pubFile, pem("PUBLIC KEY", await crypto.subtle.exportKey("spki", keys.publicKey)));
    }
    return { privateKey: readFileSync(keyFile, "utf8"), publicKey: readFileSync(pubFile, "utf8") };
  }
}
