import { expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../platform/process.ts";
import { loadConfig, parseConfig } from "./config.ts";
import { hostPortRules } from "./hostport.ts";
import { addNetwork, type CniTarget, delNetwork } from "./invoke.ts";

const target: CniTarget = {
  containerId: "c1",
  netns: "/run/ns",
  ifName: "eth0",
  args: { K8S_POD_NAME: "p" },
  portMappings: [{ hostPort: 80, containerPort: 8080, protocol: "tcp" }],
};

/** A plugin that writes down what it was given, and answers with its own name added. */
function plugins(): { dir: string; calls: () => string[]; [Symbol.dispose]: () => void } {
  const dir = mkdtempSync(join(tmpdir(), "kubun-cni-"));
  const script = `#!/bin/sh
read input
echo "$(basename $0) $CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS $input" >> ${dir}/calls
[ "$(basename $0)" = bad ] && [ $CNI_COMMAND = ADD ] && { echo '{"code":11,"msg":"try again","details":"later"}'; exit 1; }
[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"}]}'
exit 0
`;
  for (const name of ["one", "two", "bad"]) {
    writeFileSync(join(dir, name), script);
    chmodSync(join(dir, name), 0o755);
  }
  return {
    dir,
    calls: () => readFileSync(join(dir, "calls"), "utf8").trim().split("\n"),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}

test("plugins run in order with the result of the one before, and backwards on the way out", async () => {
  using p = plugins();
  const config = parseConfig(
    '{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"one"},{"type":"two","capabilities":{"portMappings":true}}]}',
  );
  const result = await addNetwork(config, target, ["/none", p.dir]);
  expect(result.ips?.[0]?.address).toBe("10.0.0.2/24");
  await delNetwork(config, target, [p.dir], result);
  const calls = p.calls();
  expect(calls.map((c) => c.split(" ").slice(0, 2).join(" "))).toEqual(["one ADD", "two ADD", "two DEL", "one DEL"]);
  expect(calls[0]).toContain("c1 /run/ns eth0 IgnoreUnknown=1;K8S_POD_NAME=p");
  expect(calls[0]).not.toContain("prevResult");
  expect(calls[0]).not.toContain("portMappings");
  expect(calls[1]).toContain('"prevResult":{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"}]}');
  expect(calls[1]).toContain('"runtimeConfig":{"portMappings":[{"hostPort":80');
  expect(calls[1]).not.toContain('"capabilities"');
});

test("a plugin's failure is told in its words", async () => {
  using p = plugins();
  const config = parseConfig('{"cniVersion":"1.0.0","name":"n","type":"bad"}');
  await expect(addNetwork(config, target, [p.dir])).rejects.toThrow('plugin type="bad" failed (add): try again; later');
  const absent = parseConfig('{"cniVersion":"1.0.0","name":"n","type":"absent"}');
  await expect(addNetwork(absent, target, [p.dir])).rejects.toThrow(`failed to find plugin "absent" in path [${p.dir}]`);
});

test("the first configuration that can be used counts", () => {
  const dir = mkdtempSync(join(tmpdir(), "kubun-net.d-"));
  try {
    expect(() => loadConfig(join(dir, "none"))).toThrow("no network config found in");
    writeFileSync(join(dir, "10-bad.conflist"), "{");
    expect(() => loadConfig(dir)).toThrow("no valid networks found in");
    writeFileSync(join(dir, "20-good.conf"), '{"cniVersion":"0.4.0","name":"good","type":"bridge"}');
    writeFileSync(join(dir, "30-other.conflist"), '{"name":"other","plugins":[{"type":"ptp"}]}');
    expect(loadConfig(dir).name).toBe("good");
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test.each(['{"plugins":[{"type":"x"}]}', '{"name":"n"}', '{"name":"n","plugins":[]}', '{"name":"n","plugins":[{"type":"../x"}]}'])(
  "%s is refused",
  (text) => {
    expect(() => parseConfig(text)).toThrow();
  },
);

const noNft = Bun.which("nft") === null;
if (noNft) console.log("skipped: rules of host ports: no nft on PATH (Debian package nftables)");

test.skipIf(noNft)("nft takes the rules of host ports, for IPv4 and IPv6", async () => {
  const ports = [...target.portMappings, { hostPort: 53, containerPort: 5353, protocol: "udp", hostIP: "127.0.0.1" }];
  const v6 = [{ hostPort: 80, containerPort: 8080, protocol: "tcp" }];
  for (const rules of [hostPortRules("t", "10.0.0.2", ports), hostPortRules("t", "fd00::2", v6)]) {
    expect(await run(["nft", "-c", "-f", "-"], { input: rules })).toMatchObject({ code: 0, stderr: "" });
  }
});
