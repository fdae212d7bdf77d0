// What the flags say of TLS, for clients ("") and for other members ("peer-").
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TlsClientOptions, TlsServerOptions } from "../../rpc/types.ts";
import { UsageError } from "../flags.ts";
import type { Values } from "./flags.ts";
import type { ListenUrl } from "./urls.ts";

export interface Tls {
  readonly server?: TlsServerOptions;
  /** For calls to other members. */
  readonly client?: TlsClientOptions;
}

const DAY = 86_400_000;

function readPem(flag: string, path: string): string {
  let pem: string;
  try {
    pem = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`invalid value ${JSON.stringify(path)} for flag --${flag}: ${(error as Error).message}`);
  }
  if (!pem.includes("-----BEGIN ")) throw new UsageError(`invalid value ${JSON.stringify(path)} for flag --${flag}: not a PEM file`);
  return pem;
}

function pair(v: Values, certFlag: keyof Values & string, keyFlag: keyof Values & string): { cert: string; key: string } | undefined {
  const [cert, key] = [v[certFlag], v[keyFlag]] as (string | undefined)[];
  if (!cert !== !key) throw new UsageError(`--${certFlag} and --${keyFlag} go together`);
  return cert && key ? { cert: readPem(certFlag, cert), key: readPem(keyFlag, key) } : undefined;
}

/** Reads and checks it; throws UsageError. */
export function readTls(v: Values, prefix: "" | "peer-"): Tls {
  const limits = versions(v);
  const served = pair(v, `${prefix}cert-file`, `${prefix}key-file`);
  const shown = prefix === "peer-" ? pair(v, "peer-client-cert-file", "peer-client-key-file") : undefined;
  const caFile = v[`${prefix}trusted-ca-file`];
  const requireClientCert = v[`${prefix}client-cert-auth`];
  if (requireClientCert && !caFile) throw new UsageError(`--${prefix}client-cert-auth needs --${prefix}trusted-ca-file`);
  const ca = caFile ? readPem(`${prefix}trusted-ca-file`, caFile) : undefined;
  return {
    server: served && { ...served, clientCa: ca, requireClientCert, ...limits },
    client: served || ca ? { ...(shown ?? served), ca } : undefined,
  };
}

const VERSIONS = { "": undefined, "TLS1.2": 0x0303, "TLS1.3": 0x0304 } as const;

function versions(v: Values): Pick<TlsServerOptions, "ciphers" | "minVersion" | "maxVersion"> {
  const [minVersion, maxVersion] = [VERSIONS[v["tls-min-version"]], VERSIONS[v["tls-max-version"]]];
  if (minVersion && maxVersion && minVersion > maxVersion)
    throw new UsageError(`min version (${v["tls-min-version"]}) is greater than max version (${v["tls-max-version"]})`);
  const suites = v["cipher-suites"];
  if (suites.length > 0 && minVersion === VERSIONS["TLS1.3"])
    throw new UsageError("cipher suites cannot be configured when only TLS1.3 is enabled");
  const ciphers = suites.map(openSslName).filter((name) => name !== undefined);
  if (suites.length > 0 && ciphers.length === 0)
    throw new UsageError(`invalid value ${JSON.stringify(suites.join(","))} for flag --cipher-suites: none of them is of TLS 1.2`);
  return { ciphers: ciphers.length > 0 ? ciphers.join(":") : undefined, minVersion, maxVersion };
}

/** TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 is ECDHE-RSA-AES128-GCM-SHA256; undefined for TLS 1.3's, which are always on. */
function openSslName(name: string): string | undefined {
  if (/^TLS_(AES|CHACHA20)_/.test(name)) return undefined;
  const parts = /^TLS_(?:(ECDHE)_)?(RSA|ECDSA)_WITH_(?:AES_(128|256)_(GCM|CBC)_(SHA(?:256|384)?)|(CHACHA20_POLY1305)(?:_SHA256)?)$/.exec(
    name,
  );
  if (!parts) throw new UsageError(`unexpected TLS cipher suite ${JSON.stringify(name)}`);
  const [, exchange, signed, bits, mode, hash, chacha] = parts;
  const head = exchange ? `${exchange}-${signed}-` : "";
  return head + (chacha ? "CHACHA20-POLY1305" : `AES${bits}-${mode === "GCM" ? "GCM-" : ""}${hash}`);
}

/** The certificate of --auto-tls or --peer-auto-tls, made at the first start. */
export async function selfSigned(dir: string, urls: readonly ListenUrl[], years: number): Promise<{ cert: string; key: string }> {
  const [certFile, keyFile] = [join(dir, "cert.pem"), join(dir, "key.pem")];
  try {
    return { cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const { issue } = await import("../../platform/certificate.ts");
  const now = Date.now();
  const made = await issue({
    commonName: "etcd",
    notBefore: new Date(now),
    notAfter: new Date(now + years * 365 * DAY),
    usages: ["serverAuth", "clientAuth"],
    hosts: [...new Set(urls.flatMap(({ address, url }) => ("host" in address ? [address.host, new URL(url).hostname] : [])))],
  });
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeFileSync(keyFile, made.key, { mode: 0o600 });
  writeFileSync(certFile, made.cert);
  return made;
}

/** The server's side of URLs; throws UsageError where they and the certificates don't fit. */
export async function serverTls(
  flag: string,
  prefix: "" | "peer-",
  urls: readonly ListenUrl[],
  tls: Tls,
  v: Values,
  dir: string,
): Promise<Tls> {
  const secure = urls.find((u) => u.secure);
  if (!secure) return { client: tls.client };
  if (tls.server) return tls;
  if (!v[`${prefix}auto-tls`]) throw new UsageError(`--${flag} ${secure.url}: https needs --${prefix}cert-file and --${prefix}key-file`);
  const made = await selfSigned(join(dir, "fixtures", prefix ? "peer" : "client"), urls, v["self-signed-cert-validity"]);
  return { server: { ...made, ...versions(v) }, client: { insecureSkipVerify: true } };
}
