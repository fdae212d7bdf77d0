import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createFileRegistry, fromBinary, toJson } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Discovery } from "../discovery.ts";
import { kinds } from "../schema.ts";
import { OpenApi, v2ContentTypes, v2MediaTypes } from "./mod.ts";
import type { Json } from "./schemas.ts";

const served = kinds.map((info) => ({ info }));
const api = new OpenApi(served, "v1.35.0");
const read = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes)) as Record<string, never>;

/** Every reference of a document points at a schema that is there. */
function danglingReferences(document: Json, schemas: Json): string[] {
  const missing = new Set<string>();
  const walk = (v: unknown) => {
    if (typeof v !== "object" || v === null) return;
    for (const [k, x] of Object.entries(v)) {
      if (k === "$ref" && typeof x === "string") {
        const name = x.slice(x.lastIndexOf("/") + 1);
        if (!(name in schemas)) missing.add(name);
      } else walk(x);
    }
  };
  walk(document);
  return [...missing];
}

test("every group version has a document whose references all lead somewhere", () => {
  const index = read(api.v3Index().bytes) as unknown as { paths: Record<string, { serverRelativeURL: string }> };
  expect(Object.keys(index.paths)).toContain("apis/apps/v1");
  for (const [path, { serverRelativeURL }] of Object.entries(index.paths)) {
    const { bytes, hash } = api.v3(path)!;
    expect(serverRelativeURL).toBe(`/openapi/v3/${path}?hash=${hash}`);
    const document = read(bytes) as unknown as { components: { schemas: Json } };
    expect(danglingReferences(document as never, document.components.schemas)).toEqual([]);
  }
  expect(api.v3("apis/none/v1")).toBeUndefined();
});

test("fields carry what apply, patch and explain need", () => {
  const document = read(api.v3("apis/apps/v1")!.bytes) as unknown as { components: { schemas: Record<string, { properties: Json }> } };
  const { schemas } = document.components;
  expect(schemas["io.k8s.api.core.v1.PodSpec"]!.properties.containers).toMatchObject({
    type: "array",
    items: { allOf: [{ $ref: "#/components/schemas/io.k8s.api.core.v1.Container" }], default: {} },
    "x-kubernetes-list-map-keys": ["name"],
    "x-kubernetes-list-type": "map",
    "x-kubernetes-patch-merge-key": "name",
    "x-kubernetes-patch-strategy": "merge",
  });
  expect(schemas["io.k8s.api.apps.v1.Deployment"]).toMatchObject({
    "x-kubernetes-group-version-kind": [{ group: "apps", kind: "Deployment", version: "v1" }],
  });
});

test("operation ids are unique and upstream's", () => {
  const { paths } = read(api.v2().bytes) as unknown as { paths: Record<string, Record<string, { operationId?: string }>> };
  const ids = Object.values(paths).flatMap((p) => Object.values(p).flatMap((o) => o.operationId ?? []));
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of [
    "listCoreV1NamespacedPod",
    "listCoreV1PodForAllNamespaces",
    "createAppsV1NamespacedDeployment",
    "patchAppsV1NamespacedDeploymentScale",
    "deleteCoreV1CollectionNamespacedPod",
    "readCoreV1NamespacedPodLog",
    "connectCoreV1PostNamespacedPodExec",
    "createCoreV1NamespacedPodEviction",
    "listRbacAuthorizationV1ClusterRole",
  ])
    expect(ids).toContain(id);
});

test("the protobuf form says what the JSON form says", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kubun-openapi-"));
  try {
    const root = join(import.meta.dirname, "../../..");
    const out = join(folder, "fds.binpb");
    const buf = Bun.spawnSync([join(root, "node_modules/.bin/buf"), "build", "-o", out], { cwd: root, stderr: "pipe" });
    expect(buf.stderr.toString()).toBe("");
    const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(out)));
    const schema = registry.getMessage("openapi.v2.Document")!;
    const document = toJson(schema, fromBinary(schema, api.v2(v2MediaTypes[1]).bytes)) as never as {
      swagger: string;
      paths: { path: { name: string }[] };
      definitions: {
        additionalProperties: {
          name: string;
          value: {
            properties: {
              additionalProperties: { name: string; value: { vendorExtension: { name: string; value: { yaml: string } }[] } }[];
            };
          };
        }[];
      };
      securityDefinitions: unknown;
    };
    const json = read(api.v2().bytes) as unknown as { paths: Json; definitions: Json };
    expect(document.swagger).toBe("2.0");
    expect(document.paths.path.map((p) => p.name)).toEqual(Object.keys(json.paths));
    expect(document.definitions.additionalProperties.map((d) => d.name)).toEqual(Object.keys(json.definitions));
    const podSpec = document.definitions.additionalProperties.find((d) => d.name === "io.k8s.api.core.v1.PodSpec")!;
    const containers = podSpec.value.properties.additionalProperties.find((p) => p.name === "containers")!;
    expect(containers.value.vendorExtension).toContainEqual({ name: "x-kubernetes-patch-merge-key", value: { yaml: '"name"' } });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const kubectl = Bun.which("kubectl");
if (!kubectl) console.log("skipped: kubectl is not on PATH, so what it makes of the documents is not tested");

let server: ReturnType<typeof Bun.serve> | undefined;
let home = "";
const asked: string[] = [];

/** Discovery and OpenAPI alone, over plain HTTP. */
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "kubun-kubectl-"));
  const discovery = new Discovery(served);
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request) {
      const { pathname } = new URL(request.url);
      const accept = request.headers.get("accept") ?? "";
      asked.push(pathname);
      const aggregated = accept.includes("as=APIGroupDiscoveryList");
      if (pathname === "/api" || pathname === "/apis") {
        const which = pathname.slice(1) as "api" | "apis";
        if (aggregated)
          return Response.json(discovery.aggregated(which), {
            headers: { "content-type": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" },
          });
        return Response.json(which === "api" ? discovery.versions(request.headers.get("host")!) : discovery.groups());
      }
      if (pathname === "/openapi/v3") return new Response(api.v3Index().bytes, { headers: { "content-type": "application/json" } });
      if (pathname.startsWith("/openapi/v3/")) {
        const document = api.v3(pathname.slice("/openapi/v3/".length));
        return document
          ? new Response(document.bytes, { headers: { "content-type": "application/json" } })
          : new Response(null, { status: 404 });
      }
      if (pathname === "/openapi/v2") {
        const type = accept.includes("protobuf") ? v2MediaTypes[1] : v2MediaTypes[0];
        return new Response(api.v2(type).bytes, { headers: { "content-type": v2ContentTypes[type] } });
      }
      return Response.json(
        { kind: "Status", apiVersion: "v1", status: "Failure", reason: "NotFound", code: 404, message: pathname },
        { status: 404 },
      );
    },
  });
});
afterAll(() => {
  server?.stop(true);
  rmSync(home, { recursive: true, force: true });
});

async function run(...args: string[]): Promise<{ out: string; err: string; code: number }> {
  const p = Bun.spawn([kubectl!, `--server=http://127.0.0.1:${server!.port}`, `--cache-dir=${home}/cache`, ...args], {
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, HOME: home, KUBECONFIG: "/dev/null" },
  });
  const [out, err, code] = await Promise.all([new Response(p.stdout).text(), new Response(p.stderr).text(), p.exited]);
  return { out, err, code };
}

test.skipIf(!kubectl)("kubectl explains a field from the v3 document", async () => {
  const { out, err, code } = await run("explain", "deployment.spec.template.spec.containers");
  expect(err).toBe("");
  expect(code).toBe(0);
  expect(out).toContain("GROUP:      apps\nKIND:       Deployment\nVERSION:    v1\n\nFIELD: containers <[]Container>");
  expect(out).toContain("imagePullPolicy\t<string>");
  expect(out).toContain("When the image is pulled: Always, IfNotPresent or Never.");
});

test.skipIf(!kubectl)(
  "kubectl explains recursively, and from the v2 document in protobuf",
  async () => {
    const recursive = await run("explain", "pod", "--recursive");
    expect(recursive.code).toBe(0);
    expect(recursive.out).toContain("containerPort");
    const v2 = await run("explain", "service.spec.ports", "--output=plaintext-openapiv2");
    expect(v2.err).toBe("");
    expect(v2.out).toContain("targetPort");
    expect(asked).toContain("/openapi/v2");
  },
  20_000,
);

test.skipIf(!kubectl)("kubectl lists the resources of the aggregated discovery", async () => {
  const { out, err } = await run("api-resources", "--no-headers");
  expect(err).toBe("");
  expect(out).toMatch(/^deployments +deploy +apps\/v1 +true +Deployment$/m);
  expect(out.trim().split("\n").length).toBe(kinds.length - kinds.filter((k) => k.group === "autoscaling" && k.version === "v1").length);
});
