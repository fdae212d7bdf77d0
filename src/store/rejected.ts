// Connections that never came to be: whoever looks after the store has to see
// why a client or another member is not let in, for that one is told little.
import { logger } from "../platform/log.ts";

/** What BoringSSL and Node's codes mean, in the words of Go's crypto/tls, which etcd's operators know. */
const WORDS: readonly [pattern: RegExp, words: string][] = [
  [/PEER_DID_NOT_RETURN_A_CERTIFICATE/, "tls: client didn't provide a certificate"],
  [/HTTP_REQUEST|WRONG_VERSION_NUMBER|HTTPS_PROXY_REQUEST/, "tls: first record does not look like a TLS handshake"],
  [/UNSUPPORTED_PROTOCOL/, "tls: client offered only unsupported versions"],
  [/NO_SHARED_CIPHER/, "tls: no cipher suite supported by both client and server"],
  [/UNABLE_TO_|SELF_SIGNED/, "tls: failed to verify client certificate: x509: certificate signed by unknown authority"],
  [/CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/, "tls: failed to verify client certificate: x509: certificate has expired or is not yet valid"],
];
/** Closed before a word was said, as probes of the port do. */
const SILENT = "ECONNRESET";

/** @param address HOST:PORT */
export function rejected(error: (Error & { code?: string }) | undefined, address: string): void {
  const told = `${error?.code ?? ""} ${error?.message ?? ""}`.trim();
  const words = WORDS.find(([pattern]) => pattern.test(told))?.[1] ?? (told || "unknown");
  const fields = { "remote-addr": address, error: words };
  if (error?.code === SILENT) logger("etcd").info("rejected connection", fields, 2);
  else logger("etcd").warn("rejected connection", fields);
}
