// OpenAPI v3.0 of one group version (/openapi/v3/apis/GROUP/VERSION).
import { mediaTypes, patchMediaTypes } from "../codec/media.ts";
import type { ServedResource } from "../discovery.ts";
import { deleteOptionsMessage, type Operation, type Parameter, type Path, pathsOf } from "./operations.ts";
import { definitions, type Json, reference } from "./schemas.ts";

const objectTypes = Object.values(mediaTypes);
const streamTypes = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch", "application/cbor-seq"];
const patchName = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const codes: Record<number, string> = { 200: "OK", 201: "Created", 202: "Accepted", 401: "Unauthorized" };

const parameter = (p: Parameter): Json => ({
  name: p.name,
  in: p.in,
  description: p.description,
  ...(p.in === "path" ? { required: true } : {}),
  schema: { type: p.type, uniqueItems: true },
});

const content = (types: readonly string[], schema: Json): Json => Object.fromEntries(types.map((t) => [t, { schema }]));

function operation(o: Operation): Json {
  const schema = o.answer === "string" ? { type: "string" } : reference(o.answer, 3);
  const types = o.answer === "string" ? ["*/*"] : o.stream ? [...objectTypes, ...streamTypes] : objectTypes;
  const out: Json = {
    tags: [o.tag],
    description: o.description,
    operationId: o.id,
    ...(o.parameters.length > 0 ? { parameters: o.parameters.map(parameter) } : {}),
  };
  if (o.body === "patch")
    out.requestBody = { content: content(patchMediaTypes, { $ref: `#/components/schemas/${patchName}` }), required: true };
  else if (o.body !== undefined)
    out.requestBody = { content: content(["*/*"], reference(o.body, 3)), ...(o.body === deleteOptionsMessage ? {} : { required: true }) };
  out.responses = Object.fromEntries([
    ...o.codes.map((c) => [c, { description: codes[c], content: content(types, schema) }]),
    [401, { description: codes[401] }],
  ]);
  out["x-kubernetes-action"] = o.action;
  out["x-kubernetes-group-version-kind"] = o.kind;
  return out;
}

const item = (p: Path): Json => ({
  ...Object.fromEntries(p.operations.map((o) => [o.method, operation(o)])),
  parameters: p.parameters.map(parameter),
});

/** The document of resources that share a group version. */
export function buildV3(resources: readonly ServedResource[], version: string): Json {
  const paths = resources.flatMap(pathsOf).sort((a, b) => (a.path < b.path ? -1 : 1));
  const roots = new Set<string>();
  for (const p of paths)
    for (const o of p.operations) for (const m of [o.body, o.answer]) if (m && m !== "patch" && m !== "string") roots.add(m);
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version },
    paths: Object.fromEntries(paths.map((p) => [p.path, item(p)])),
    components: {
      schemas: { ...definitions(roots, 3), [patchName]: { type: "object", description: "A patch of the request's content type." } },
      securitySchemes: { BearerToken: { type: "apiKey", description: "Bearer Token authentication", name: "authorization", in: "header" } },
    },
    security: [{ BearerToken: [] }],
  };
}
