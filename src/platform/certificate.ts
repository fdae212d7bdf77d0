// Makes keys and X.509 certificates (RFC 5280) as a cluster's authority issues
// them. The library that writes them is large, and loads when the first one is
// made: a start that finds its certificates never waits for it.
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";

/** PEM; the key is PKCS#8. */
export interface KeyPair {
  cert: string;
  key: string;
}

export interface CertificateSpec {
  commonName: string;
  organizations?: readonly string[];
  notBefore: Date;
  notAfter: Date;
  /** May sign other certificates. */
  authority?: boolean;
  /** What else than signing and key exchange it is for. */
  usages?: readonly ("serverAuth" | "clientAuth")[];
  /** DNS names and IP addresses. */
  hosts?: readonly string[];
}

const P256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const RSA = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" } as const;

/** A new P-256 key pair. */
export const newKeys = (): { privateKey: KeyObject; publicKey: KeyObject } => generateKeyPairSync("ec", { namedCurve: "P-256" });
export const privatePem = (key: KeyObject) => String(key.export({ type: "pkcs8", format: "pem" }));
export const publicPem = (key: KeyObject) => String(key.export({ type: "spki", format: "pem" }));

type X509 = typeof import("@peculiar/x509");

async function x509(): Promise<X509> {
  await import("reflect-metadata");
  return import("@peculiar/x509");
}

function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  // A positive number, as RFC 5280 asks.
  bytes[0]! &= 0x7f;
  return Buffer.from(bytes).toString("hex");
}

const isAddress = (host: string) => /^[\d.]+$|:/.test(host);

async function extensions(x: X509, spec: CertificateSpec, publicKey: CryptoKey, issuer: InstanceType<X509["X509Certificate"]> | undefined) {
  const flags = x.KeyUsageFlags;
  const usage = flags.digitalSignature | flags.keyEncipherment | (spec.authority ? flags.keyCertSign : 0);
  const names = (spec.hosts ?? []).map((value) => ({ type: isAddress(value) ? ("ip" as const) : ("dns" as const), value }));
  return [
    new x.BasicConstraintsExtension(spec.authority ?? false, undefined, true),
    new x.KeyUsagesExtension(usage, true),
    ...(spec.usages?.length ? [new x.ExtendedKeyUsageExtension(spec.usages.map((u) => x.ExtendedKeyUsage[u]))] : []),
    await x.SubjectKeyIdentifierExtension.create(publicKey),
    ...(issuer ? [await x.AuthorityKeyIdentifierExtension.create(issuer)] : []),
    ...(names.length ? [new x.SubjectAlternativeNameExtension(names)] : []),
  ];
}

/** An issuer's key, whatever kind its authority has. */
function signingKey(pem: string): Promise<CryptoKey> {
  const key = createPrivateKey(pem);
  const der = key.export({ type: "pkcs8", format: "der" }) as Buffer;
  return crypto.subtle.importKey("pkcs8", new Uint8Array(der), key.asymmetricKeyType === "rsa" ? RSA : P256, false, ["sign"]);
}

/** Makes a key and its certificate, signed by the issuer, or by itself where there is none. */
export async function issue(spec: CertificateSpec, issuer?: KeyPair): Promise<KeyPair> {
  const x = await x509();
  const keys = (await crypto.subtle.generateKey(P256, true, ["sign", "verify"])) as CryptoKeyPair;
  const parent = issuer && new x.X509Certificate(issuer.cert);
  const subject = new x.Name([...(spec.organizations ?? []).map((o) => ({ O: [o] })), { CN: [spec.commonName] }]);
  const key = issuer ? await signingKey(issuer.key) : keys.privateKey;
  const cert = await x.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject,
    issuer: parent?.subjectName ?? subject,
    notBefore: spec.notBefore,
    notAfter: spec.notAfter,
    publicKey: keys.publicKey,
    signingKey: key,
    signingAlgorithm: key.algorithm.name === RSA.name ? RSA : P256,
    extensions: await extensions(x, spec, keys.publicKey, parent),
  });
  const exported = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return {
    cert: `${cert.toString("pem")}\n`,
    key: privatePem(createPrivateKey({ key: Buffer.from(exported), format: "der", type: "pkcs8" })),
  };
}
