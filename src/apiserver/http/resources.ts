// The REST API on resources: HTTP in, the verbs of api.ts, HTTP out.

import { decodeJson } from "../../api/codec/json.ts";
import { type Format, mediaTypes, metaTransforms, negotiate, streamTypes } from "../../api/codec/media.ts";
import { badRequest, methodNotAllowed, notAcceptable, type Status, StatusError } from "../../api/status.ts";
import type { Api } from "../api.ts";
import { checkDeleteOptions, type Deleted, type DeleteOptions } from "../registry/delete.ts";
import type { Watcher } from "../registry/watch.ts";
import type { RequestContext, UserInfo } from "../request.ts";
import type { Entry } from "../storage/entry.ts";
import { readBody, readPatch } from "./body.ts";
import { EventEncoder, encodeEntry, encodeList, encoderOf, type Form, type IncludeObject } from "./encode.ts";
import type { Incoming } from "./incoming.ts";
import type { ResourcePath } from "./path.ts";
import { deleteOptions, dryRun, fieldValidation, listOptions, wantsWatch, watchOptions } from "./query.ts";
import { Reply } from "./reply.ts";

const formats: readonly Format[] = ["json", "yaml", "protobuf", "cbor"];
/** A watch that names no end gets one between this and twice this, so that clients spread over servers. */
const minWatchSeconds = 1800;
/** Events that are encoded before their reader has taken those before: thousands may wait for a slow one. */
const framesAtOnce = 100;

export interface ResourceRequest {
  readonly incoming: Incoming;
  readonly user: UserInfo;
  readonly target: ResourcePath;
  readonly query: URLSearchParams;
  /** The path had the old /watch/ form. */
  readonly oldWatch: boolean;
}

/** kubectl names itself "kubectl/v1.32.0 (linux/amd64) …"; what stands before the slash owns the fields. */
function managerOf(request: ResourceRequest): string {
  const named = request.query.get("fieldManager");
  if (named) return named;
  const agent = request.incoming.header("user-agent") ?? "";
  return (agent.split("/")[0] ?? "").slice(0, 128) || "unknown";
}

function contextOf(request: ResourceRequest, warnings: string[]): RequestContext {
  const { query, user } = request;
  return {
    user,
    dryRun: dryRun(query.getAll("dryRun")),
    fieldManager: managerOf(request),
    fieldValidation: fieldValidation(query),
    force: query.get("force") === "true",
    warn: (text) => {
      if (!warnings.includes(text)) warnings.push(text);
    },
  };
}

export async function formOf(incoming: Incoming, query: URLSearchParams, stream = false): Promise<Form> {
  const negotiated = negotiate(incoming.header("accept"), { formats, transforms: metaTransforms, stream });
  if (!negotiated) throw notAcceptable(Object.values(mediaTypes));
  const pretty = query.get("pretty");
  if (pretty !== null) negotiated.pretty = pretty !== "false" && pretty !== "0";
  else if (/^(curl|Wget|Mozilla)/.test(incoming.header("user-agent") ?? "")) negotiated.pretty = true;
  if (stream) negotiated.pretty = false;
  const include = query.get("includeObject") ?? "";
  if (!["", "None", "Metadata", "Object"].includes(include))
    throw badRequest(`unrecognized includeObject value: ${JSON.stringify(include)}`);
  return { negotiated, include: (include || "Metadata") as IncludeObject, encoder: await encoderOf(negotiated.format, negotiated.pretty) };
}

const warning = (text: string) => `299 - ${JSON.stringify(text)}`;

function answer(code: number, form: Form, payload: Uint8Array | Uint8Array[], warnings: readonly string[] = []): Reply {
  return new Reply(
    code,
    {
      "content-type": mediaTypes[form.negotiated.format],
      "cache-control": "no-cache, private",
      ...(warnings.length ? { warning: warnings.map(warning) } : {}),
    },
    payload,
  );
}

/** What upstream warns of when such a resource is used. */
const deprecated: Record<string, string> = {
  "/v1/endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
  "/v1/componentstatuses": "v1 ComponentStatus is deprecated in v1.19+",
};

/** Answers a request for a resource. */
export async function handleResource(api: Api, request: ResourceRequest): Promise<Reply> {
  const { incoming, target, query } = request;
  const old = deprecated[`${target.group}/${target.version}/${target.resource}`];
  const warnings: string[] = old ? [old] : [];
  const named = target.name !== undefined;
  const context = contextOf(request, warnings);
  switch (incoming.method) {
    case "GET":
    case "HEAD": {
      if (request.oldWatch || (wantsWatch(query) && !target.subresource)) return startWatch(api, request, context);
      const form = await formOf(incoming, query);
      if (!named) {
        const list = await api.list(context, target, listOptions(query));
        return answer(200, form, encodeList(api.listKind(target), list, form), warnings);
      }
      const entry = await api.get(context, target as Named, query.get("resourceVersion") ?? undefined);
      return answer(200, form, encodeEntry(api.bodyKind(target), entry, form), warnings);
    }
    case "POST": {
      const form = await formOf(incoming, query);
      const { entry } = await api.create(context, target, await needBody(request));
      return written(
        api,
        target,
        entry,
        entry.object.kind === "Status" ? ((entry.object as unknown as Status).code ?? 201) : 201,
        form,
        warnings,
      );
    }
    case "PUT": {
      needName(target, "update");
      const form = await formOf(incoming, query);
      const { entry, created } = await api.update(context, target as Named, await needBody(request));
      return written(api, target, entry, created ? 201 : 200, form, warnings);
    }
    case "PATCH": {
      needName(target, "patch");
      const form = await formOf(incoming, query);
      const { type, body } = await readPatch(incoming);
      if (context.force && type !== "apply")
        throw badRequest('PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch');
      const { entry, created } = await api.patch(context, target as Named, type, body);
      return written(api, target, entry, created ? 201 : 200, form, warnings);
    }
    case "DELETE": {
      const form = await formOf(incoming, query);
      const { options, dry } = await optionsOf(request);
      const as = dry ? { ...context, dryRun: true } : context;
      if (named) {
        const deleted = await api.delete(as, target as Named, options);
        return deletion(api, target, deleted, options, form);
      }
      const { entries, resourceVersion } = await api.deleteCollection(as, target, options, listOptions(query));
      return answer(200, form, encodeList(api.listKind(target), { entries, resourceVersion }, form));
    }
    default:
      throw methodNotAllowed({ group: target.group, resource: target.resource }, incoming.method.toLowerCase());
  }
}

type Named = ResourcePath & { name: string };

function needName(target: ResourcePath, verb: string): void {
  if (target.name === undefined) throw methodNotAllowed({ group: target.group, resource: target.resource }, verb);
}

async function needBody(request: ResourceRequest) {
  const body = await readBody(request.incoming);
  if (!body) throw badRequest("the body of the request is empty");
  return body;
}

function written(api: Api, target: ResourcePath, entry: Entry, code: number, form: Form, warnings: string[]): Reply {
  return answer(code, form, encodeEntry(api.bodyKind(target), entry, form), warnings);
}

/** DeleteOptions come in the body, or in the query of a DELETE without one. */
async function optionsOf(request: ResourceRequest): Promise<{ options: DeleteOptions; dry: boolean }> {
  const body = await readBody(request.incoming);
  if (!body) return { options: deleteOptions(request.query), dry: false };
  const { object } = decodeJson("k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions", body.value);
  const options = object as DeleteOptions & { dryRun?: string[] };
  checkDeleteOptions(options);
  return { options, dry: dryRun(options.dryRun ?? []) };
}

function deletion(api: Api, target: ResourcePath, deleted: Deleted, options: DeleteOptions, form: Form): Reply {
  const { entry, gone } = deleted;
  const resource = api.resource(target);
  const waiting = !gone && options.orphanDependents === false;
  if (!gone || resource.strategy.returnsDeleted) return answer(waiting ? 202 : 200, form, encodeEntry(resource.info, entry, form));
  const { name, uid } = entry.object.metadata;
  const { group, plural } = resource.info;
  const status = {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
    details: { name, ...(group ? { group } : {}), kind: plural, uid },
  };
  return answer(200, { ...form, negotiated: { ...form.negotiated, as: undefined } }, form.encoder.object(status));
}

async function startWatch(api: Api, request: ResourceRequest, context: RequestContext): Promise<Reply> {
  const { incoming, target, query } = request;
  const form = await formOf(incoming, query, true);
  const options = watchOptions(query);
  const info = api.bodyKind(target);
  let watcher: Watcher | undefined;
  let failure: Status | undefined;
  try {
    watcher = await api.watch(context, target, options);
  } catch (error) {
    // A version that is gone is told as an event of the watch, as upstream's cache does.
    if (!(error instanceof StatusError) || error.code !== 410) throw error;
    failure = error.status;
  }
  const events = new EventEncoder(info, form);
  const seconds = options.timeoutSeconds || minWatchSeconds * (1 + Math.random());
  return new Reply(200, { "content-type": streamTypes[form.negotiated.format], "cache-control": "no-cache, private" }, async (sink) => {
    sink.flush();
    if (!watcher) {
      await sink.write(events.frames([{ type: "ERROR", status: failure! }]));
      return;
    }
    const stop = () => watcher.close();
    const timer = setTimeout(stop, seconds * 1000);
    sink.signal.addEventListener("abort", stop);
    const undo = sink.whenEnding(stop);
    try {
      if (sink.signal.aborted) return;
      for (let batch = await watcher.next(); batch; batch = await watcher.next()) {
        for (let at = 0; at < batch.length && !sink.signal.aborted; at += framesAtOnce)
          await sink.write(events.frames(batch.length > framesAtOnce ? batch.slice(at, at + framesAtOnce) : batch));
      }
    } finally {
      clearTimeout(timer);
      undo();
      watcher.close();
    }
  });
}
