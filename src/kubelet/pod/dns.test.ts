import { describe, expect, test } from "bun:test";
import { makePod } from "../testing/pods.ts";
import { kernelHostname, parseResolvConf, podDns } from "./dns.ts";
import { hostsFile } from "./hosts-file.ts";

const host = parseResolvConf("# c\nnameserver 192.0.2.53\nsearch corp.example. lan\noptions edns0\n");
const settings = { clusterDns: ["10.96.0.10"], clusterDomain: "cluster.local", host };
const clusterSearch = ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example", "lan"];

describe("podDns", () => {
  test("ClusterFirst asks the cluster, with its search path and five dots", () => {
    expect(podDns(makePod(), settings)).toEqual({ servers: ["10.96.0.10"], searches: clusterSearch, options: ["ndots:5"] });
  });
  test("ClusterFirst on the host's network is the node's own", () => {
    expect(podDns(makePod({ hostNetwork: true }), settings)).toEqual(host);
    expect(podDns(makePod({ hostNetwork: true, dnsPolicy: "ClusterFirstWithHostNet" }), settings).servers).toEqual(["10.96.0.10"]);
  });
  test("Default is the node's own", () => expect(podDns(makePod({ dnsPolicy: "Default" }), settings)).toEqual(host));
  test("None is what dnsConfig says", () => {
    const dnsConfig = { nameservers: ["1.2.3.4"], searches: ["x.y"], options: [{ name: "ndots", value: "2" }, { name: "debug" }] };
    expect(podDns(makePod({ dnsPolicy: "None", dnsConfig }), settings)).toEqual({
      servers: ["1.2.3.4"],
      searches: ["x.y"],
      options: ["ndots:2", "debug"],
    });
  });
  test("dnsConfig adds to a policy, and its options win", () => {
    const dnsConfig = { nameservers: ["10.96.0.10", "1.2.3.4"], options: [{ name: "ndots", value: "1" }] };
    expect(podDns(makePod({ dnsConfig }), settings)).toEqual({
      servers: ["10.96.0.10", "1.2.3.4"],
      searches: clusterSearch,
      options: ["ndots:1"],
    });
  });
});

describe("names", () => {
  test("a pod's host name is its own, its hostname field, or its FQDN", () => {
    const spec = { hostname: "h", subdomain: "sub" };
    expect(kernelHostname(makePod(), "cluster.local", "node")).toBe("p");
    expect(kernelHostname(makePod(spec), "cluster.local", "node")).toBe("h");
    expect(kernelHostname(makePod({ ...spec, setHostnameAsFQDN: true }), "cluster.local", "node")).toBe("h.sub.ns.svc.cluster.local");
    expect(kernelHostname(makePod({ hostNetwork: true }), "cluster.local", "node")).toBe("node");
    expect(kernelHostname(makePod({}, { name: `${"x".repeat(62)}-y` }), "cluster.local", "node")).toBe("x".repeat(62));
  });
  test("the hosts file has the pod's names and the aliases", () => {
    const spec = { hostname: "h", subdomain: "sub", hostAliases: [{ ip: "1.2.3.4", hostnames: ["foo", "bar"] }] };
    const lines = hostsFile(makePod(spec), ["10.0.0.2"], "cluster.local", "").split("\n");
    expect(lines).toContain("10.0.0.2\th.sub.ns.svc.cluster.local\th");
    expect(lines).toContain("1.2.3.4\tfoo\tbar");
    expect(lines).toContain("127.0.0.1\tlocalhost");
  });
  test("on the host's network it is the node's own file", () => {
    expect(hostsFile(makePod({ hostNetwork: true }), [], "cluster.local", "1.1.1.1 n\n")).toBe(
      "# Kubernetes-managed hosts file (host network).\n1.1.1.1 n\n",
    );
  });
});
