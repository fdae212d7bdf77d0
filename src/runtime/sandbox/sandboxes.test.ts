import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { NamespaceMode } from "../../rpc/gen/cri/runtime_pb.ts";
import { missing, TestHost } from "../testing/host.ts";
import { runPod } from "../testing/pods.ts";

const reason = missing();
if (reason !== undefined) console.log(`skipped: ${reason}`);

describe.skipIf(reason !== undefined)("sandboxes", () => {
  let host: TestHost;
  beforeAll(async () => {
    host = await new TestHost().up();
    const broken = { cniVersion: "1.0.0", name: "broken", plugins: [{ type: "absent" }] };
    writeFileSync(join(host.options.cniConfDir, "00-broken.conflist"), JSON.stringify(broken));
  });
  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
  });

  test("a network that fails while the holder of the PID namespace starts is told to the caller alone", async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => void unhandled.push(error);
    process.on("unhandledRejection", note);
    try {
      const linux = { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } };
      await expect(runPod(host, { linux } as never)).rejects.toThrow('failed to find plugin "absent"');
      expect(unhandled).toEqual([]);
    } finally {
      process.off("unhandledRejection", note);
    }
  });
});
