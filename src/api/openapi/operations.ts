// The operations on each resource, free of an OpenAPI dialect: which path, which
// verb, which parameters and bodies.
import { defaultVerbs, type ServedResource, subresourceOf } from "../discovery.ts";
import { apiVersion, type GroupVersionKind } from "../object.ts";
import { builtinKinds, type FieldSchema, type KindInfo, messageSchema } from "../schema.ts";
import { docOf } from "./docs.ts";

export type Method = "get" | "post" | "put" | "patch" | "delete" | "head" | "options";

export interface Parameter {
  name: string;
  in: "query" | "path";
  description: string;
  type: "string" | "boolean" | "integer";
}

export interface Operation {
  method: Method;
  /** "list", "get", "post", "put", "patch", "delete", "deletecollection", "connect" */
  action: string;
  id: string;
  description: string;
  tag: string;
  kind: GroupVersionKind;
  parameters: Parameter[];
  /** Full name of the request body's message; "patch" for any of the patch types. */
  body?: string;
  /** Full name of the answer's message; "string" for plain text. */
  answer: string;
  /** Success codes. */
  codes: number[];
  /** The answer may be a watch. */
  stream?: boolean;
}

export interface Path {
  path: string;
  /** Of every operation. */
  parameters: Parameter[];
  operations: Operation[];
}

const meta = "k8s.io.apimachinery.pkg.apis.meta.v1.";
export const statusMessage = `${meta}Status`;
export const deleteOptionsMessage = `${meta}DeleteOptions`;
export const patchMessage = `${meta}Patch`;

const query = (name: string, type: Parameter["type"], description: string): Parameter => ({ name, in: "query", type, description });
const pretty = query("pretty", "string", "If 'true', the answer is indented.");
const nameParameter = (kind: string): Parameter => ({ name: "name", in: "path", type: "string", description: `name of the ${kind}` });
const namespaceParameter: Parameter = {
  name: "namespace",
  in: "path",
  type: "string",
  description: "object name and auth scope, such as for teams and projects",
};

const dryRun = query("dryRun", "string", "With 'All' nothing is stored; the answer is what would have been.");
const fieldManager = query("fieldManager", "string", "The name of the actor that makes the change, for managed fields.");
const fieldValidation = query("fieldValidation", "string", "What to do about unknown and duplicate fields: Ignore, Warn or Strict.");
const force = query("force", "boolean", "Apply takes fields that others manage.");

const write = [dryRun, fieldManager, fieldValidation];
const listing = [
  query("allowWatchBookmarks", "boolean", "Ask for events of type BOOKMARK in a watch."),
  query("continue", "string", "The token of the previous page of a list."),
  query("fieldSelector", "string", "Restricts the answer by the objects' fields; everything by default."),
  query("labelSelector", "string", "Restricts the answer by the objects' labels; everything by default."),
  query("limit", "integer", "The most objects that a page of a list may hold."),
  query("resourceVersion", "string", "Sets a constraint on which resource versions the answer may be of."),
  query("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
  query("sendInitialEvents", "boolean", "A watch begins with the objects that are there, and then a bookmark."),
  query("timeoutSeconds", "integer", "Ends a list or watch after so many seconds."),
  query("watch", "boolean", "Watch for changes instead of listing."),
];
const deleting = [
  dryRun,
  query("gracePeriodSeconds", "integer", "How many seconds the object may take to end; zero is at once."),
  query("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean", "Delete an object even though it can't be read."),
  query("orphanDependents", "boolean", "Deprecated: use propagationPolicy."),
  query("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
];

const camel = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
const groupName = (group: string) =>
  group === ""
    ? "core"
    : group
        .replace(/\.k8s\.io$/, "")
        .split(/[.-]/)
        .map((p, i) => (i === 0 ? p : camel(p)))
        .join("");

/** Query parameters from the fields of an options message, such as PodLogOptions. */
function optionParameters(message: string): Parameter[] {
  const type = (f: FieldSchema): Parameter["type"] =>
    f.type === "bool" ? "boolean" : f.type === "int32" || f.type === "int64" ? "integer" : "string";
  return messageSchema(message)
    .jsonFields.filter((f) => f.type !== undefined || f.message?.endsWith(".Time"))
    .map((f) => query(f.json, type(f), docOf(message, f.json) ?? f.json));
}

const messageOf = (kind: GroupVersionKind): string => builtinKinds.kindOf(kind)!.message;

/** All paths of one resource, subresources included. */
export function pathsOf({ info, verbs = defaultVerbs(info) }: ServedResource): Path[] {
  const root = info.group === "" ? `/api/${info.version}` : `/apis/${apiVersion(info)}`;
  const scope = info.namespaced ? `${root}/namespaces/{namespace}` : root;
  const shared = info.namespaced ? [namespaceParameter, pretty] : [pretty];
  const name = nameParameter(info.kind);
  const out: Path[] = [];
  const add = (path: string, parameters: Parameter[], operations: (Operation | undefined)[]) => {
    const some = operations.filter((o) => o !== undefined);
    if (some.length > 0) out.push({ path, parameters, operations: some });
  };
  const has = (verb: string) => verbs.includes(verb);
  add(`${scope}/${info.plural}`, shared, [
    has("list") ? list(info, "") : undefined,
    has("create") ? create(info) : undefined,
    has("deletecollection") ? deleteCollection(info) : undefined,
  ]);
  if (info.namespaced && has("list")) add(`${root}/${info.plural}`, [pretty], [list(info, "ForAllNamespaces")]);
  add(
    `${scope}/${info.plural}/{name}`,
    [name, ...shared],
    [
      has("get") ? read(info, "", info) : undefined,
      has("update") ? replace(info, "", info) : undefined,
      has("patch") ? patch(info, "", info) : undefined,
      has("delete") ? remove(info) : undefined,
    ],
  );
  for (const s of info.subresources) add(`${scope}/${info.plural}/{name}/${s}`, [name, ...shared], subresource(info, s));
  return out;
}

const identify = (verb: string, info: KindInfo, suffix: string, forAll = false) =>
  `${verb}${camel(groupName(info.group))}${camel(info.version)}${info.namespaced && !forAll ? "Namespaced" : ""}${info.kind}${suffix}`;

const common = (info: KindInfo, kind: GroupVersionKind) => ({
  tag: `${groupName(info.group)}_${info.version}`,
  kind: { group: kind.group, version: kind.version, kind: kind.kind },
});

const list = (info: KindInfo, suffix: string): Operation => ({
  ...common(info, info),
  method: "get",
  action: "list",
  id: identify("list", info, suffix, suffix !== ""),
  description: `list or watch objects of kind ${info.kind}`,
  parameters: listing,
  answer: messageOf({ ...info, kind: info.listKind }),
  codes: [200],
  stream: true,
});

const create = (info: KindInfo): Operation => ({
  ...common(info, info),
  method: "post",
  action: "post",
  id: identify("create", info, ""),
  description: `create a ${info.kind}`,
  parameters: write,
  body: info.message,
  answer: info.message,
  codes: [200, 201, 202],
});

const deleteCollection = (info: KindInfo): Operation => ({
  ...common(info, info),
  method: "delete",
  action: "deletecollection",
  id: identify("delete", { ...info, kind: `Collection${info.namespaced ? "Namespaced" : ""}${info.kind}`, namespaced: false }, ""),
  description: `delete collection of ${info.kind}`,
  parameters: [...deleting, ...listing.filter((p) => p.name !== "allowWatchBookmarks" && p.name !== "watch")],
  body: deleteOptionsMessage,
  answer: statusMessage,
  codes: [200],
});

const read = (info: KindInfo, suffix: string, kind: GroupVersionKind): Operation => ({
  ...common(info, kind),
  method: "get",
  action: "get",
  id: identify("read", info, suffix),
  description: `read ${suffix ? `${suffix.toLowerCase()} of ` : ""}the specified ${info.kind}`,
  parameters: [],
  answer: messageOf(kind),
  codes: [200],
});

const replace = (info: KindInfo, suffix: string, kind: GroupVersionKind): Operation => ({
  ...common(info, kind),
  method: "put",
  action: "put",
  id: identify("replace", info, suffix),
  description: `replace ${suffix ? `${suffix.toLowerCase()} of ` : ""}the specified ${info.kind}`,
  parameters: write,
  body: messageOf(kind),
  answer: messageOf(kind),
  codes: [200, 201],
});

const patch = (info: KindInfo, suffix: string, kind: GroupVersionKind): Operation => ({
  ...common(info, kind),
  method: "patch",
  action: "patch",
  id: identify("patch", info, suffix),
  description: `partially update ${suffix ? `${suffix.toLowerCase()} of ` : ""}the specified ${info.kind}`,
  parameters: [...write, force],
  body: "patch",
  answer: messageOf(kind),
  codes: [200, 201],
});

const remove = (info: KindInfo): Operation => ({
  ...common(info, info),
  method: "delete",
  action: "delete",
  id: identify("delete", info, ""),
  description: `delete a ${info.kind}`,
  parameters: deleting,
  body: deleteOptionsMessage,
  answer: info.plural === "pods" ? info.message : statusMessage,
  codes: [200, 202],
});

/** Subresources whose requests become a stream or are passed on. */
const connects = new Set(["attach", "exec", "portforward", "proxy"]);
const connectMethods: Record<string, Method> = { create: "post", get: "get", update: "put", patch: "patch", delete: "delete" };

function subresource(info: KindInfo, name: string): Operation[] {
  const { verbs, kind } = subresourceOf(info, name);
  const suffix = camel(name);
  if (connects.has(name)) {
    return verbs.map((verb) => ({
      ...common(info, kind),
      method: connectMethods[verb]!,
      action: "connect",
      id: `connect${camel(groupName(info.group))}${camel(info.version)}${camel(connectMethods[verb]!)}${info.namespaced ? "Namespaced" : ""}${info.kind}${suffix}`,
      description: `connect ${connectMethods[verb]!.toUpperCase()} requests to ${name} of ${info.kind}`,
      parameters: optionParameters(messageOf(kind)),
      answer: "string",
      codes: [200],
    }));
  }
  const operations: Operation[] = [];
  if (verbs.includes("get")) {
    const operation = read(info, suffix, kind);
    if (name === "log") Object.assign(operation, { answer: "string", parameters: optionParameters("k8s.io.api.core.v1.PodLogOptions") });
    operations.push(operation);
  }
  if (verbs.includes("create"))
    operations.push({
      ...create(info),
      ...common(info, kind),
      id: identify("create", info, suffix),
      body: messageOf(kind),
      answer: messageOf(kind),
    });
  if (verbs.includes("update")) operations.push(replace(info, suffix, kind));
  if (verbs.includes("patch")) operations.push(patch(info, suffix, kind));
  return operations;
}
