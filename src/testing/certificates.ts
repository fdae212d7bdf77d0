// An authority and certificates for tests of TLS, made in memory, good for an hour.
import { issue, type KeyPair } from "../platform/certificate.ts";

export interface TestPki {
  /** PEM of the authority. */
  ca: string;
  /** A certificate for localhost and 127.0.0.1 that both servers and clients may use. */
  issue(commonName: string, organization?: string): Promise<KeyPair>;
}

export async function testPki(): Promise<TestPki> {
  const times = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) };
  const ca = await issue({ commonName: "test-ca", authority: true, ...times });
  return {
    ca: ca.cert,
    issue: (commonName, organization) =>
      issue(
        {
          commonName,
          organizations: organization ? [organization] : [],
          usages: ["serverAuth", "clientAuth"],
          hosts: ["localhost", "127.0.0.1"],
          ...times,
        },
        ca,
      ),
  };
}
