import { expect, test } from "bun:test";
import { ContainerConfigSchema, PodSandboxConfigSchema } from "../rpc/gen/cri/runtime_pb.ts";
import { create, protobufEs } from "../rpc/protobuf.ts";
import { decodeSandbox } from "./sandbox/record.ts";
import { decodeConfig, encodeConfig } from "./stored-config.ts";

const pod = create(PodSandboxConfigSchema, {
  metadata: { name: "a", namespace: "b", uid: "c", attempt: 2 },
  labels: { app: "straße" },
  linux: { resources: { cpuShares: 1024n } },
});

test("a config comes back from disk as it was", () => {
  expect(decodeConfig(PodSandboxConfigSchema, encodeConfig(PodSandboxConfigSchema, pod))).toEqual(pod);
  const empty = create(ContainerConfigSchema);
  expect(decodeConfig(ContainerConfigSchema, encodeConfig(ContainerConfigSchema, empty))).toEqual(empty);
});

test("records of version 1, which held JSON, are still read; those of a newer one are refused", () => {
  const record = { id: "x", bootId: "", createdAt: "7", ready: true, handler: "", namespaces: {}, ips: [] };
  const config = protobufEs().toJson(PodSandboxConfigSchema, pod);
  expect(decodeSandbox({ ...record, version: 1, config })).toEqual({ ...record, createdAt: 7n, config: pod });
  expect(() => decodeSandbox({ ...record, version: 3, config })).toThrow("version 3");
});
