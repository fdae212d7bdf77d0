// Programs that others wrote, as clients of the server: nghttp, h2load and curl.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { KV, Maintenance, PutRequestSchema } from "../gen/etcd/rpc_pb.ts";
import { createRpcServer, type RpcListener, service } from "../server.ts";
import { selfSigned } from "../testing/certificate.ts";

const absent = ["nghttp", "h2load", "curl"].filter((name) => !Bun.which(name));
if (absent.length > 0) console.warn(`skipped: ${absent.join(", ")} not installed (apt-get install nghttp2-client curl)`);

const dir = mkdtempSync(join(tmpdir(), "rpc-clients-"));
const body = join(dir, "put");
const port = ({ address }: RpcListener) => (address as { port: number }).port;
let plain: RpcListener;
let secure: RpcListener;
let puts = 0;
const seen: (boolean | undefined)[] = [];
beforeAll(async () => {
  const message = toBinary(PutRequestSchema, create(PutRequestSchema, { key: new Uint8Array(10), value: new Uint8Array(256) }));
  await Bun.write(body, Uint8Array.of(0, 0, 0, message.length >> 8, message.length & 0xff, ...message));
  const [pair, client] = await Promise.all([selfSigned("server"), selfSigned("client")]);
  await Promise.all([
    Bun.write(join(dir, "client.crt"), client.cert),
    Bun.write(join(dir, "client.key"), client.key),
    Bun.write(join(dir, "ca.crt"), pair.cert),
  ]);
  const server = (tls?: object) =>
    createRpcServer({
      tls: tls && { ...pair, ...tls },
      fetch: () => new Response("x".repeat(300_000)),
      services: [
        service(KV, {
          put(_, { peerCertificate }) {
            puts++;
            seen.push(peerCertificate !== undefined);
            return { header: { revision: 1n } };
          },
        }),
        service(Maintenance, {
          async *snapshot() {
            for (let i = 0; i < 200; i++) yield { blob: new Uint8Array(10_000) };
          },
        }),
      ],
    }).listen({ host: "127.0.0.1", port: 0 });
  plain = await server();
  secure = await server({ clientCa: client.cert });
});
afterAll(async () => {
  await Promise.all([plain.close(), secure.close()]);
  rmSync(dir, { recursive: true, force: true });
});

async function run(...command: string[]): Promise<{ out: string; code: number }> {
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  const [out] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { out, code: await child.exited };
}
const GRPC = ["-H", "content-type: application/grpc", "-H", "te: trailers"];

describe.skipIf(absent.length > 0)("from outside", () => {
  for (const [what, url] of [
    ["plain", () => `http://127.0.0.1:${port(plain)}`],
    ["TLS", () => `https://127.0.0.1:${port(secure)}`],
  ] as const) {
    test(`h2load makes 20 000 calls of gRPC over ${what}, and none fails`, async () => {
      puts = 0;
      const { out } = await run("h2load", "-c", "8", "-m", "32", "-n", "20000", "-d", body, ...GRPC, `${url()}/etcdserverpb.KV/Put`);
      expect(out).toContain("20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout");
      expect(puts).toBe(20_000);
    });

    test(`nghttp reads an answer through small windows over ${what}, and shows the trailers`, async () => {
      // A stream's window of 2^10, the connection's of 2^12 bytes.
      const large = await run("nghttp", "-w", "10", "-W", "12", `${url()}/large`);
      expect([large.out.length, large.code]).toEqual([300_000, 0]);
      const call = await run("nghttp", "-v", "-d", body, ...GRPC, `${url()}/etcdserverpb.KV/Put`);
      expect(call.out).toContain("grpc-status: 0");
      const settings = await run("nghttp", "-v", "--header-table-size=0", "--max-concurrent-streams=1", `${url()}/large`);
      expect(settings.out).toContain(":status: 200");
    });

    test(`nghttp uploads with padding, CONTINUATION and many streams over ${what}`, async () => {
      const large = join(dir, "large");
      await Bun.write(large, new Uint8Array(3_000_000));
      const upload = await run(
        "nghttp",
        "-v",
        "-b",
        "200",
        "--continuation",
        "-m",
        "5",
        "-d",
        large,
        "-H",
        "content-type: text/plain",
        `${url()}/etcdserverpb.KV/Put`,
      );
      expect(upload.out.match(/:status: 415/g)?.length).toBe(5);
    });

    test(`curl streams a call of gRPC over ${what}`, async () => {
      const flags = [
        what === "TLS" ? "--http2" : "--http2-prior-knowledge",
        "-k",
        "-s",
        "-D",
        "-",
        "--data-binary",
        `@${join(dir, "empty")}`,
      ];
      await Bun.write(join(dir, "empty"), new Uint8Array(5));
      const { out } = await run("curl", ...flags, ...GRPC, `${url()}/etcdserverpb.Maintenance/Snapshot`);
      expect(out).toContain("HTTP/2 200");
      expect(out).toContain("grpc-status: 0");
      expect(out.length).toBeGreaterThan(2_000_000);
    });
  }

  test("the certificate of a client is there for each of its calls", async () => {
    const file = (name: string) => join(dir, name);
    const flags = [
      "--http2",
      "-s",
      "-o",
      "/dev/null",
      "-w",
      "%{http_code}",
      "--cacert",
      file("ca.crt"),
      "--data-binary",
      `@${body}`,
      ...GRPC,
    ];
    const url = `https://127.0.0.1:${port(secure)}/etcdserverpb.KV/Put`;
    seen.length = 0;
    const certificate = ["--cert", file("client.crt"), "--key", file("client.key")];
    expect((await run("curl", ...flags, ...certificate, url)).out).toBe("200");
    expect((await run("curl", ...flags, url)).out).toBe("200");
    expect(seen).toEqual([true, false]);
  });
});
