import { expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import type { HandlerContext } from "../../rpc/types.ts";
import { testPki } from "../../testing/certificates.ts";
import { checkCertificate } from "./certificate.ts";

test("a member's certificate has to have one of the names that are allowed", async () => {
  const pki = await testPki();
  const call = async (name: string) => {
    const peerCertificate = new Uint8Array(new X509Certificate((await pki.issue(name)).cert).raw);
    return { peerCertificate } as HandlerContext;
  };
  const [a, b] = await Promise.all(["a", "b"].map(call));
  const none = {} as HandlerContext;
  const names = { commonNames: ["a", "c"], hosts: [] };
  checkCertificate(none, undefined);
  checkCertificate(none, { commonNames: [], hosts: [] });
  // Asked again, the answer is the same.
  for (let i = 0; i < 2; i++) {
    checkCertificate(a!, names);
    expect(() => checkCertificate(b!, names)).toThrow("client certificate authentication failed");
    expect(() => checkCertificate(none, names)).toThrow("client certificate authentication failed");
  }
  // Each is for localhost and 127.0.0.1.
  for (const host of ["localhost", "127.0.0.1"]) checkCertificate(await call("a"), { commonNames: [], hosts: ["x", host] });
  const elsewhere = await call("b");
  expect(() => checkCertificate(elsewhere, { commonNames: ["b"], hosts: ["elsewhere"] })).toThrow();
});
