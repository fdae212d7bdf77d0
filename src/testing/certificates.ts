// An authority and certificates for tests of TLS, made in memory, good for an hour.

export interface TestPki {
  /** PEM of the authority. */
  ca: string;
  /** A certificate for localhost and 127.0.0.1 that both servers and clients may use. */
  issue(commonName: string, organization?: string): Promise<{ cert: string; key: string }>;
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

export async function testPki(): Promise<TestPki> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const newKeys = () => crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const times = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) };
  const keys = await newKeys();
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=test-ca",
    ...times,
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  return {
    ca: ca.toString("pem"),
    async issue(commonName, organization) {
      const own = await newKeys();
      const cert = await x509.X509CertificateGenerator.create({
        subject: organization ? `O=${organization}, CN=${commonName}` : `CN=${commonName}`,
        issuer: ca.subject,
        ...times,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: algorithm,
        extensions: [
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
          new x509.SubjectAlternativeNameExtension([
            { type: "dns", value: "localhost" },
            { type: "ip", value: "127.0.0.1" },
          ]),
        ],
      });
      const pkcs8 = await crypto.subtle.exportKey("pkcs8", own.privateKey);
      return { cert: cert.toString("pem"), key: x509.PemConverter.encode(pkcs8, "PRIVATE KEY") };
    },
  };
}
