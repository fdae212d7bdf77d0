import type { TlsClientOptions, TlsServerOptions } from "../types.ts";

/** Protocols as ALPN writes them: a length before each name (RFC 7301, section 3.1). */
function alpn(...names: string[]): ArrayBuffer {
  return Uint8Array.from(names.flatMap((name) => [name.length, ...Buffer.from(name, "latin1")])).buffer;
}

export function serverTls(options: TlsServerOptions) {
  return {
    cert: options.cert,
    key: options.key,
    ...(options.ciphers ? { ciphers: options.ciphers } : {}),
    ...(options.minVersion ? { minVersion: options.minVersion } : {}),
    ...(options.maxVersion ? { maxVersion: options.maxVersion } : {}),
    ...(options.clientCa ? { ca: options.clientCa, requestCert: true, rejectUnauthorized: options.requireClientCert === true } : {}),
    ALPNProtocols: alpn("h2", "http/1.1"),
  };
}

export function clientTls(options: TlsClientOptions, host: string) {
  return {
    ...(options.ca ? { ca: options.ca } : {}),
    ...(options.cert ? { cert: options.cert, key: options.key } : {}),
    serverName: options.serverName ?? host,
    rejectUnauthorized: options.insecureSkipVerify !== true,
    ALPNProtocols: alpn("h2"),
  };
}
