// Which of the certificates that an authority has signed are of members
// (--peer-cert-allowed-cn and --peer-cert-allowed-hostname).
import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { Code, type HandlerContext, RpcError } from "../../rpc/types.ts";

/** One of each has to fit, where there are any. */
export interface AllowedCertificates {
  readonly commonNames: readonly string[];
  readonly hosts: readonly string[];
}

/** Worked out once a connection, whose calls share the bytes. */
const judged = new WeakMap<Uint8Array, boolean>();

function isAllowed(der: Uint8Array, { commonNames, hosts }: AllowedCertificates): boolean {
  const certificate = new X509Certificate(der);
  const name = [...certificate.subject.matchAll(/^CN=(.*)$/gm)].at(-1)?.[1] ?? "";
  if (commonNames.length > 0 && !commonNames.includes(name)) return false;
  const isFor = (host: string) => (isIP(host) ? certificate.checkIP(host) : certificate.checkHost(host)) !== undefined;
  return hosts.length === 0 || hosts.some(isFor);
}

/** @throws RpcError PermissionDenied */
export function checkCertificate({ peerCertificate }: HandlerContext, allowed: AllowedCertificates | undefined): void {
  if (!allowed || (allowed.commonNames.length === 0 && allowed.hosts.length === 0)) return;
  let good = peerCertificate && judged.get(peerCertificate);
  if (good === undefined) {
    good = peerCertificate !== undefined && isAllowed(peerCertificate, allowed);
    if (peerCertificate) judged.set(peerCertificate, good);
  }
  if (!good) throw new RpcError(Code.PermissionDenied, "client certificate authentication failed");
}
