// A page in Chromium calls a server of another origin: gRPC-Web and Connect, over HTTP/1.1 and HTTP/2.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KV, Maintenance } from "../gen/etcd/rpc_pb.ts";
import { createRpcServer, service } from "../server.ts";
import { selfSigned } from "../testing/certificate.ts";
import { Code, RpcError } from "../types.ts";

const chromium = Bun.which("chromium");
if (!chromium) console.warn("skipped: chromium is not installed (apt-get install --no-install-recommends chromium)");

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const dir = mkdtempSync(join(tmpdir(), "rpc-browser-"));
let html: string;
let page: ReturnType<typeof Bun.serve>;
let reported: (report: Record<string, unknown>) => void;

beforeAll(async () => {
  const built = await Bun.build({ entrypoints: [join(import.meta.dir, "../testing/browser-page.ts")], target: "browser" });
  const script = await built.outputs[0]!.text();
  html = `<!doctype html><script type="module">${script.replaceAll("</script", "<\\/script")}</script>`;
  page = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    routes: {
      "/": () => new Response(html, { headers: { "content-type": "text/html; charset=utf-8" } }),
      "/report": async (request) => {
        reported((await request.json()) as Record<string, unknown>);
        return new Response();
      },
    },
  });
});
afterAll(async () => {
  await page.stop(true);
  rmSync(dir, { recursive: true, force: true });
});

let canceled = 0;
let goOn = () => {};
const services = [
  service(KV, {
    range({ key }, { responseHeaders, responseTrailers, requestHeaders }) {
      if (text(key) === "error") throw new RpcError(Code.FailedPrecondition, "größer", { metadata: new Headers({ "x-why": "seven" }) });
      if (text(key) === "go on") goOn();
      responseHeaders.set("timing-allow-origin", "*");
      responseTrailers.set("x-tail", requestHeaders.get("x-ask") ?? "");
      return { kvs: [{ key }] };
    },
  }),
  service(Maintenance, {
    async *snapshot(_, { requestHeaders, signal }) {
      signal.addEventListener("abort", () => void canceled++);
      const told = new Promise<void>((resolve) => (goOn = resolve));
      yield { blob: new Uint8Array(1000) };
      if (requestHeaders.get("x-endless")) await new Promise((resolve) => signal.addEventListener("abort", resolve));
      await told;
      for (let i = 0; i < 20; i++) yield { blob: new Uint8Array(50_000) };
    },
  }),
];

describe.skipIf(!chromium)("a page in Chromium", () => {
  for (const [version, secure] of [
    ["http/1.1", false],
    ["h2", true],
  ] as const) {
    test(`calls, streams and cancels over ${version}`, async () => {
      canceled = 0;
      const tls = secure ? await selfSigned("server") : undefined;
      const listener = await createRpcServer({ services, tls, cors: [page.url.origin] }).listen({ host: "127.0.0.1", port: 0 });
      const base = `${secure ? "https" : "http"}://127.0.0.1:${(listener.address as { port: number }).port}`;
      const report = new Promise<Record<string, unknown>>((resolve) => (reported = resolve));
      const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors"];
      flags.push(
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        `--user-data-dir=${join(dir, version.replace("/", ""))}`,
      );
      const log = join(dir, `net-${secure}`);
      flags.push(`--log-net-log=${log}`);
      // A port of its own keeps it running until it is ended.
      flags.push("--remote-debugging-port=0", `${page.url.origin}/?base=${encodeURIComponent(base)}`);
      const browser = Bun.spawn([chromium!, ...flags], {
        stdout: "ignore",
        stderr: "ignore",
        env: { ...process.env, HOME: dir, TMPDIR: dir },
      });
      const ended = browser.exited.then((code) => {
        throw new Error(`chromium ended with exit code ${code} before the page had reported`);
      });
      try {
        const got = await Promise.race([report, ended]);
        const all = {
          key: "k",
          tail: "page",
          error: [Code.FailedPrecondition, "größer", "seven"],
          streamed: 1_001_000,
          early: 21,
          canceled: "Canceled",
        };
        expect(got).toEqual({ "gRPC-Web": all, "Connect with protobuf": all, "Connect with JSON": all, versions: [version] });
        while (canceled < 3) await Bun.sleep(5);
        // Nothing but ERR_NETWORK_CHANGED and ERR_ABORTED may have been in its way.
        const wrong = [...(await Bun.file(log).text()).matchAll(/"net_error":(-\d+)/g)].map(([, code]) => Number(code));
        expect(wrong.filter((code) => code <= -320 && code > -400)).toEqual([]);
      } finally {
        ended.catch(() => {});
        browser.kill("SIGKILL");
        await browser.exited;
        await listener.close();
      }
    }, 60_000);
  }
});
