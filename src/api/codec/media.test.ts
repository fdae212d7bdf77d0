import { expect, test } from "bun:test";
import { bodyFormat, metaTransforms, negotiate, patchFormat } from "./media.ts";

const formats = ["json", "yaml", "protobuf", "cbor"] as const;

test("the most wanted format that the endpoint can write is chosen", () => {
  const cases: [string | undefined, string | undefined][] = [
    [undefined, "json"],
    ["", "json"],
    ["*/*", "json"],
    ["application/*", "json"],
    ["application/yaml", "yaml"],
    ["application/json;q=0.5, application/vnd.kubernetes.protobuf", "protobuf"],
    ["application/vnd.kubernetes.protobuf,application/json", "protobuf"],
    ["text/html, */*;q=0.1", "json"],
    ["text/html", undefined],
    ["application/json;q=0", undefined],
    ["application/cbor-seq", "cbor"],
  ];
  for (const [accept, want] of cases) expect(negotiate(accept, { formats })?.format).toBe(want as never);
});

test("kubectl's request for a Table is met, and falls back where there is none", () => {
  const accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
  expect(negotiate(accept, { formats, transforms: metaTransforms })?.as).toEqual({ kind: "Table", version: "v1", group: "meta.k8s.io" });
  expect(negotiate(accept, { formats })).toEqual({ format: "json", pretty: false, stream: false });
});

test("a watch may ask for its stream", () => {
  expect(negotiate("application/vnd.kubernetes.protobuf;stream=watch", { formats, stream: true })).toMatchObject({
    format: "protobuf",
    stream: true,
  });
  expect(negotiate("application/json;stream=other", { formats })).toBeUndefined();
});

test("bodies and patches are told by their content type", () => {
  expect(bodyFormat(undefined)).toBe("json");
  expect(bodyFormat("application/json; charset=utf-8")).toBe("json");
  expect(bodyFormat("text/plain")).toBeUndefined();
  expect(patchFormat("application/apply-patch+yaml")).toEqual({ patch: "apply", format: "yaml" });
  expect(patchFormat("application/json")).toBeUndefined();
});
