import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataDir } from "./state.ts";
import { storageOptions } from "./store-choice.ts";

const wanted = { podCidr: "10.244.0.0/16", serviceCidr: "10.96.0.0/12", clusterDomain: "cluster.local", controlPlanes: 1 };
const etcd = { servers: ["http://127.0.0.1:2379"], prefix: "/registry" };
const none = new Set<string>();

function dataDir(): DataDir & Disposable {
  const path = mkdtempSync(join(tmpdir(), "kubun-choice-"));
  return Object.assign(new DataDir(path), { [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) });
}

test("a store of the cluster's own holds JSON, an etcd what upstream's apiserver writes", () => {
  using own = dataDir();
  expect(storageOptions(own.open(wanted, none))).toEqual({ storageMediaType: "application/json" });
  using outside = dataDir();
  expect(storageOptions(outside.open({ ...wanted, etcd }, none))).toEqual({
    storageMediaType: "application/vnd.kubernetes.protobuf",
    storePrefix: "/registry",
  });
});

test("a form that a start asked for is kept until another asks for a different one", () => {
  using dir = dataDir();
  const form = (o: object = {}) => {
    const cluster = dir.open({ ...wanted, ...o }, none);
    dir.write(cluster);
    return storageOptions(cluster).storageMediaType;
  };
  expect(form()).toBe("application/json");
  expect(form({ storageMediaType: "application/vnd.kubernetes.protobuf" })).toBe("application/vnd.kubernetes.protobuf");
  expect(form()).toBe("application/vnd.kubernetes.protobuf");
  expect(form({ storageMediaType: "application/json" })).toBe("application/json");
  expect(form()).toBe("application/json");
});
