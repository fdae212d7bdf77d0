import { issue, type KeyPair } from "../../platform/certificate.ts";

/** A self-signed certificate for localhost and 127.0.0.1, good for an hour; it is its own authority. */
export const selfSigned = (name: string): Promise<KeyPair> =>
  issue({
    commonName: name,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
    authority: true,
    hosts: ["localhost", "127.0.0.1"],
  });
