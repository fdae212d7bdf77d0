// The verbs on resources and their subresources, behind authorization. Both
// transports, HTTP and direct, end here.
import { copy } from "../api/equal.ts";
import type { KindInfo } from "../api/schema.ts";
import { parseFieldSelector, SelectorError } from "../api/selectors.ts";
import { methodNotAllowed, notFound } from "../api/status.ts";
import type { ListOptions, PatchType, Target, WatchOptions } from "../client/transport.ts";
import { forbiddenFor } from "./auth/rbac.ts";
import { type Body, decodeBody } from "./registry/body.ts";
import { type Deleted, type DeleteOptions, remove, removeCollection } from "./registry/delete.ts";
import { applied } from "./registry/managed.ts";
import { patched } from "./registry/patch.ts";
import { get, type ListResult, list } from "./registry/read.ts";
import type { Registry } from "./registry/registry.ts";
import type { Resource } from "./registry/resources.ts";
import { type Watcher, watch } from "./registry/watch.ts";
import { create, update } from "./registry/write.ts";
import type { Attributes, RequestContext } from "./request.ts";
import type { Entry } from "./storage/entry.ts";
import { type Subresource, subresources } from "./subresources/table.ts";
import type { VirtualResource } from "./virtual.ts";

export interface Authorizer {
  authorize(attributes: Attributes): { allowed: boolean; reason: string };
}

export interface ApiOptions {
  registry: Registry;
  authorizer: Authorizer;
  /** Resources that are answered by a function, by "group/version/plural". */
  virtual: ReadonlyMap<string, VirtualResource>;
  /** Subresources that need more than the registry, by "group/plural/subresource". */
  subresources: ReadonlyMap<string, Subresource>;
}

type Named = Target & { name: string };

/** What an answer to a write tells besides the object. */
export interface Written {
  entry: Entry;
  created: boolean;
}

export class Api {
  readonly registry: Registry;
  readonly #authorizer: Authorizer;
  readonly #virtual: ReadonlyMap<string, VirtualResource>;
  readonly #subresources: ReadonlyMap<string, Subresource>;

  constructor(options: ApiOptions) {
    this.registry = options.registry;
    this.#authorizer = options.authorizer;
    this.#virtual = options.virtual;
    this.#subresources = options.subresources;
  }

  /**
   * Throws 403 unless the user may, and 404 or 405 where such a request has no path of its own, whoever asks.
   * @param asked what it is about, where that is less than its path says
   */
  authorize(context: RequestContext, verb: string, target: Target, asked: Target = target): void {
    this.check({ user: context.user, verb, resource: ofNamespace(asked) ? { ...asked, namespace: asked.name! } : asked, path: "" });
    const info = this.#info(target);
    if (info) checkScope(info, verb, target);
  }

  /** Throws 403 unless the attributes are allowed. */
  check(attributes: Attributes): void {
    const { allowed, reason } = this.#authorizer.authorize(attributes);
    if (!allowed) throw forbiddenFor(attributes, reason);
  }

  /** Throws 404 where nothing of that name is served. */
  resource(target: Target): Resource {
    const found = this.registry.resources.find(target.group, target.version, target.resource);
    if (!found) throw unknownPath();
    return found;
  }

  /** Whether there is something of that name to ask for. */
  serves(target: Target): boolean {
    const info = this.#info(target);
    return info !== undefined && (target.subresource === undefined || info.subresources.includes(target.subresource));
  }

  /** Undefined where nothing of that name is served. Most of what is asked for is stored. */
  #info(target: Target): KindInfo | undefined {
    return (this.registry.resources.find(target.group, target.version, target.resource) ?? this.virtual(target))?.info;
  }

  virtual(target: Target): VirtualResource | undefined {
    return this.#virtual.get(`${target.group}/${target.version}/${target.resource}`);
  }

  /** The subresource of a target. Throws 404 where the resource has none of that name. */
  subresource(resource: Resource, name: string): Subresource {
    const { group, plural } = resource.info;
    const found =
      this.#subresources.get(`${group}/${plural}/${name}`) ??
      (resource.info.subresources.includes(name) ? (subresources[`${group}/${plural}/${name}`] ?? subresources[name]) : undefined);
    if (!found) throw unknownPath();
    return found;
  }

  /** The kind that a body for this target holds. */
  bodyKind(target: Target): KindInfo {
    const virtual = this.virtual(target);
    if (virtual) return virtual.info;
    const resource = this.resource(target);
    return (target.subresource && this.subresource(resource, target.subresource).kind) || resource.info;
  }

  /** The kind whose list a GET of this collection answers with. */
  listKind(target: Target): KindInfo {
    return this.virtual(target)?.info ?? this.resource(target).info;
  }

  async get(context: RequestContext, target: Named, resourceVersion?: string): Promise<Entry> {
    this.authorize(context, "get", target);
    const virtual = this.virtual(target);
    if (virtual?.list) {
      const found = (await virtual.list({})).entries.find((e) => e.key === target.name);
      if (!found) throw notFound({ group: target.group, resource: target.resource }, target.name);
      return found;
    }
    const resource = this.resource(target);
    if (!target.subresource) return get(resource, target.namespace, target.name, resourceVersion);
    const sub = this.subresource(resource, target.subresource);
    if (!sub.read) throw methodNotAllowed({ group: target.group, resource: target.resource }, "get");
    const entry = await get(resource, target.namespace, target.name, resourceVersion);
    return sub.read(entry, resource);
  }

  async list(context: RequestContext, target: Target, options: ListOptions): Promise<ListResult> {
    this.authorize(context, "list", target, selected(target, options));
    const virtual = this.virtual(target);
    if (virtual?.list) return virtual.list(options);
    return list(this.resource(target), target.namespace, options, target.name);
  }

  async watch(context: RequestContext, target: Target, options: WatchOptions): Promise<Watcher> {
    this.authorize(context, "watch", target, selected(target, options));
    return watch(this.resource(target), target.namespace, options, target.name);
  }

  async create(context: RequestContext, target: Target, body: Body): Promise<Written> {
    this.authorize(context, "create", target);
    const virtual = this.virtual(target);
    if (virtual?.create) {
      const object = decodeBody(virtual.info, body, context);
      return { entry: await virtual.create(context, target, object), created: true };
    }
    const resource = this.resource(target);
    if (target.subresource) {
      const sub = this.subresource(resource, target.subresource);
      if (!sub.create || !target.name) throw methodNotAllowed({ group: target.group, resource: target.resource }, "create");
      const object = decodeBody(sub.kind ?? resource.info, body, context);
      return { entry: await sub.create(this.registry, resource, context, target as Named, object), created: true };
    }
    if (target.name) throw methodNotAllowed({ group: target.group, resource: target.resource }, "create");
    const object = decodeBody(resource.info, body, context);
    return { entry: await create(this.registry, resource, context, target.namespace, object), created: true };
  }

  async update(context: RequestContext, target: Named, body: Body): Promise<Written> {
    this.authorize(context, "update", target);
    const resource = this.resource(target);
    const sub = target.subresource ? this.subresource(resource, target.subresource) : undefined;
    const object = decodeBody(sub?.kind ?? resource.info, body, context);
    if (sub?.write) return sub.write(this.registry, resource, context, target, () => copy(object) as typeof object);
    if (sub && !sub.prepare && target.subresource !== "status")
      throw methodNotAllowed({ group: target.group, resource: target.resource }, "update");
    let first = true;
    return update(
      this.registry,
      resource,
      context,
      target.namespace,
      target.name,
      () => {
        // The object is changed on its way; a second attempt needs a new one.
        if (!first) return decodeBody(resource.info, body, { ...context, fieldValidation: "Ignore" });
        first = false;
        return object;
      },
      {
        subresource: target.subresource,
        prepare: sub?.prepare,
        create: resource.strategy.createOnUpdate ? () => this.authorize(context, "create", target) : undefined,
      },
    );
  }

  async patch(context: RequestContext, target: Named, type: PatchType, body: Body): Promise<Written> {
    this.authorize(context, "patch", target);
    const resource = this.resource(target);
    const sub = target.subresource ? this.subresource(resource, target.subresource) : undefined;
    const info = sub?.kind ?? resource.info;
    if (sub?.write) {
      return sub.write(this.registry, resource, context, target, (current) =>
        type === "apply" ? applied(info, current, body, context, target) : patched(info, type, current, body, context),
      );
    }
    if (sub && !sub.prepare && target.subresource !== "status")
      throw methodNotAllowed({ group: target.group, resource: target.resource }, "patch");
    const options = { subresource: target.subresource, prepare: sub?.prepare };
    const run = (transform: Parameters<typeof update>[5], more: Parameters<typeof update>[6] = {}) =>
      update(this.registry, resource, context, target.namespace, target.name, transform, { ...options, ...more });
    if (type === "apply")
      return run((current) => applied(info, current, body, context, target), {
        create: () => this.authorize(context, "create", target),
        tracked: true,
      });
    return run((current) => {
      if (!current) throw notFound({ group: target.group, resource: target.resource }, target.name);
      return patched(info, type, current, body, context);
    });
  }

  async delete(context: RequestContext, target: Named, options: DeleteOptions): Promise<Deleted> {
    this.authorize(context, "delete", target);
    if (target.subresource) throw methodNotAllowed({ group: target.group, resource: target.resource }, "delete");
    return remove(this.registry, this.resource(target), context, target.namespace, target.name, options);
  }

  async deleteCollection(context: RequestContext, target: Target, options: DeleteOptions, selection: ListOptions) {
    this.authorize(context, "deletecollection", target);
    return removeCollection(this.registry, this.resource(target), context, target.namespace, options, selection);
  }
}

/** A namespace is asked for as what is in it: whoever may see all in it sees itself too. */
const ofNamespace = ({ group, resource, name }: Target) => group === "" && resource === "namespaces" && name !== undefined;

/**
 * What is in no namespace has no path below one, or a right in a namespace
 * would be a right to it; what is in namespaces can be read across all of
 * them, and not be written.
 */
function checkScope({ namespaced, group, plural }: KindInfo, verb: string, { namespace, name }: Target): void {
  if (namespaced === (namespace !== undefined)) return;
  if (!namespaced || name !== undefined) throw unknownPath();
  if (verb !== "list" && verb !== "watch") throw methodNotAllowed({ group, resource: plural }, verb);
}

/** Who asks for all of one name asks for that one, which a rule may name. */
function selected(target: Target, { fieldSelector }: ListOptions): Target {
  if (target.name !== undefined || !fieldSelector) return target;
  const name = nameIn(fieldSelector);
  return name ? { ...target, name } : target;
}

function nameIn(fieldSelector: string): string | undefined {
  try {
    return parseFieldSelector(fieldSelector).requiresExact("metadata.name");
  } catch (error) {
    // What is wrong with it is told to those who may ask at all.
    if (error instanceof SelectorError) return undefined;
    throw error;
  }
}

/** What upstream's mux answers to a path it does not know. */
export function unknownPath() {
  const error = notFound({ resource: "" }, "");
  error.status.message = "the server could not find the requested resource";
  error.message = error.status.message;
  error.status.details = {};
  return error;
}
