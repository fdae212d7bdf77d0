// Makes keys and X.509 certificates (RFC 5280) as a cluster's authority issues
// them. It needs no library that a start would wait for.
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from "node:crypto";
import { bits, boolean, flags, implicit, integer, objectId, octets, sequence, setOf, tagged, text, time, values } from "./der.ts";

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

const OID = {
  commonName: "2.5.4.3",
  organization: "2.5.4.10",
  subjectKeyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyId: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  sha256WithRsa: "1.2.840.113549.1.1.11",
} as const;

const USAGE = { digitalSignature: 0x80, keyEncipherment: 0x20, keyCertSign: 0x04 };

export const pem = (label: string, der: Uint8Array) =>
  `-----BEGIN ${label}-----\n${Buffer.from(der)
    .toString("base64")
    .replace(/.{64}(?!$)/g, "$&\n")}\n-----END ${label}-----\n`;

/** A new P-256 key pair. */
export const newKeys = (): { privateKey: KeyObject; publicKey: KeyObject } => generateKeyPairSync("ec", { namedCurve: "P-256" });
export const privatePem = (key: KeyObject) => String(key.export({ type: "pkcs8", format: "pem" }));
export const publicPem = (key: KeyObject) => String(key.export({ type: "spki", format: "pem" }));

const extension = (id: string, value: Uint8Array, critical = false) =>
  sequence(objectId(id), ...(critical ? [boolean(true)] : []), octets(value));

const attribute = (id: string, value: string) => setOf(sequence(objectId(id), text(value)));

const nameOf = (spec: CertificateSpec) =>
  sequence(...(spec.organizations ?? []).map((o) => attribute(OID.organization, o)), attribute(OID.commonName, spec.commonName));

const algorithmOf = (key: KeyObject) =>
  key.asymmetricKeyType === "rsa"
    ? sequence(objectId(OID.sha256WithRsa), Uint8Array.of(0x05, 0x00))
    : sequence(objectId(OID.ecdsaWithSha256));

/** RFC 5280 4.2.1.2, the first method: of the key's bits, without what says which kind of key it is. */
function keyId(subjectPublicKeyInfo: Uint8Array): Uint8Array {
  const [, key] = values(values(subjectPublicKeyInfo)[0]!.content);
  return createHash("sha1").update(key!.content.subarray(1)).digest();
}

function addressBytes(address: string): Uint8Array {
  if (!address.includes(":")) return Uint8Array.from(address.split("."), Number);
  const [head, tail] = address.split("::").map((half) => half.split(":").filter((g) => g !== ""));
  const groups = tail ? [...head!, ...Array<string>(8 - head!.length - tail.length).fill("0"), ...tail] : head!;
  return Uint8Array.from(groups.flatMap((g) => [Number.parseInt(g, 16) >> 8, Number.parseInt(g, 16) & 255]));
}

const generalName = (host: string) => (/^[\d.]+$|:/.test(host) ? implicit(7, addressBytes(host)) : implicit(2, Buffer.from(host)));

interface Issuer {
  name: Uint8Array;
  keyId: Uint8Array;
  key: KeyObject;
}

function issuerOf({ cert, key }: KeyPair): Issuer {
  const parsed = new X509Certificate(cert);
  const [tbs] = values(values(parsed.raw)[0]!.content);
  // Version, serial number, algorithm, issuer, validity, subject, key, extensions: the first has a tag, and may be absent.
  const fields = values(tbs!.content);
  const subject = fields[fields[0]!.tag === 0xa0 ? 5 : 4]!.raw;
  const extensions = fields.find((f) => f.tag === 0xa3);
  const wanted = Buffer.from(objectId(OID.subjectKeyId));
  const own = extensions && values(values(extensions.content)[0]!.content).find((e) => wanted.equals(values(e.content)[0]!.raw));
  return {
    name: subject,
    keyId: own
      ? values(values(own.content).at(-1)!.content)[0]!.content
      : keyId(parsed.publicKey.export({ type: "spki", format: "der" }) as Buffer),
    key: createPrivateKey(key),
  };
}

/** Makes a key and its certificate, signed by the issuer, or by itself where there is none. */
export function issue(spec: CertificateSpec, issuer?: KeyPair): KeyPair {
  const keys = newKeys();
  const spki = keys.publicKey.export({ type: "spki", format: "der" }) as Buffer;
  const by = issuer ? issuerOf(issuer) : { name: nameOf(spec), keyId: keyId(spki), key: keys.privateKey };
  const serial = randomBytes(16);
  serial[0]! &= 0x7f;
  const usage = USAGE.digitalSignature | USAGE.keyEncipherment | (spec.authority ? USAGE.keyCertSign : 0);
  const tbs = sequence(
    tagged(0, integer(Uint8Array.of(2))),
    integer(serial),
    algorithmOf(by.key),
    by.name,
    sequence(time(spec.notBefore), time(spec.notAfter)),
    nameOf(spec),
    spki,
    tagged(
      3,
      sequence(
        extension(OID.basicConstraints, spec.authority ? sequence(boolean(true)) : sequence(), true),
        extension(OID.keyUsage, flags(usage), true),
        ...(spec.usages?.length ? [extension(OID.extendedKeyUsage, sequence(...spec.usages.map((u) => objectId(OID[u]))))] : []),
        extension(OID.subjectKeyId, octets(keyId(spki))),
        ...(issuer ? [extension(OID.authorityKeyId, sequence(implicit(0, by.keyId)))] : []),
        ...(spec.hosts?.length ? [extension(OID.subjectAltName, sequence(...spec.hosts.map(generalName)))] : []),
      ),
    ),
  );
  const cert = sequence(tbs, algorithmOf(by.key), bits(sign("sha256", tbs, by.key)));
  return { cert: pem("CERTIFICATE", cert), key: privatePem(keys.privateKey) };
}
