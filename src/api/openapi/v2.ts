// OpenAPI v2 (Swagger) of all that is served (/openapi/v2).
import { mediaTypes, patchMediaTypes } from "../codec/media.ts";
import type { ServedResource } from "../discovery.ts";
import { deleteOptionsMessage, type Operation, type Parameter, type Path, pathsOf } from "./operations.ts";
import { definitions, type Json, reference } from "./schemas.ts";

const objectTypes = Object.values(mediaTypes);
const streamTypes = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch", "application/cbor-seq"];
const patchName = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const codes: Record<number, string> = { 200: "OK", 201: "Created", 202: "Accepted", 401: "Unauthorized" };

const parameter = (p: Parameter): Json => ({
  uniqueItems: true,
  type: p.type,
  description: p.description,
  name: p.name,
  in: p.in,
  ...(p.in === "path" ? { required: true } : {}),
});

function body(o: Operation): Json | undefined {
  if (o.body === undefined) return undefined;
  const schema = o.body === "patch" ? { $ref: `#/definitions/${patchName}` } : reference(o.body, 2);
  return { name: "body", in: "body", ...(o.body === deleteOptionsMessage ? {} : { required: true }), schema };
}

function operation(o: Operation): Json {
  const parameters = [body(o), ...o.parameters.map(parameter)].filter((p) => p !== undefined);
  const schema = o.answer === "string" ? { type: "string" } : reference(o.answer, 2);
  return {
    description: o.description,
    consumes: o.body === "patch" ? [...patchMediaTypes] : ["*/*"],
    produces: o.answer === "string" ? ["*/*"] : o.stream ? [...objectTypes, ...streamTypes] : objectTypes,
    schemes: ["https"],
    tags: [o.tag],
    operationId: o.id,
    ...(parameters.length > 0 ? { parameters } : {}),
    responses: Object.fromEntries([...o.codes.map((c) => [c, { description: codes[c], schema }]), [401, { description: codes[401] }]]),
    "x-kubernetes-action": o.action,
    "x-kubernetes-group-version-kind": o.kind,
  };
}

const item = (p: Path): Json => ({
  ...Object.fromEntries(p.operations.map((o) => [o.method, operation(o)])),
  parameters: p.parameters.map(parameter),
});

/** The document of all resources. */
export function buildV2(resources: readonly ServedResource[], version: string): Json {
  const paths = resources.flatMap(pathsOf).sort((a, b) => (a.path < b.path ? -1 : 1));
  const roots = new Set<string>();
  for (const p of paths)
    for (const o of p.operations) for (const m of [o.body, o.answer]) if (m && m !== "patch" && m !== "string") roots.add(m);
  return {
    swagger: "2.0",
    info: { title: "Kubernetes", version },
    paths: Object.fromEntries(paths.map((p) => [p.path, item(p)])),
    definitions: { ...definitions(roots, 2), [patchName]: { type: "object", description: "A patch of the request's content type." } },
    securityDefinitions: {
      BearerToken: { description: "Bearer Token authentication", type: "apiKey", name: "authorization", in: "header" },
    },
    security: [{ BearerToken: [] }],
  };
}
