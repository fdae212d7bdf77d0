// serviceaccounts/token: a token for whoever may ask for one, bound to what it is for.
import type * as authn from "../../api/gen/authentication/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import { kindOf } from "../../api/schema.ts";
import { badRequest, conflict, invalid, notFound } from "../../api/status.ts";
import type { BoundObject, ServiceAccountTokens } from "../auth/service-account-tokens.ts";
import { get } from "../registry/read.ts";
import type { Registry } from "../registry/registry.ts";
import { Entry } from "../storage/entry.ts";
import type { Subresource } from "./table.ts";

const info = kindOf({ group: "authentication.k8s.io", version: "v1", kind: "TokenRequest" })!;
const plurals: Record<string, string> = { Pod: "pods", Secret: "secrets", Node: "nodes" };

async function boundTo(
  registry: Registry,
  namespace: string | undefined,
  account: KubeObject,
  ref: authn.BoundObjectReference,
): Promise<BoundObject> {
  const { kind = "", name = "", apiVersion } = ref;
  const plural = plurals[kind];
  if (!plural || apiVersion !== "v1")
    throw badRequest(
      `cannot bind token for serviceaccount ${JSON.stringify(account.metadata.name)} to object of type /${apiVersion}, Kind=${kind}`,
    );
  const resource = registry.resources.need("", "v1", plural);
  const { object } = await get(resource, kind === "Node" ? undefined : namespace, name);
  const uid = object.metadata.uid ?? "";
  if (ref.uid && ref.uid !== uid)
    throw conflict(
      { resource: plural },
      name,
      `the UID in the bound object reference (${ref.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  const bound: BoundObject = { kind: kind as BoundObject["kind"], name, uid };
  if (kind !== "Pod") return bound;
  const { spec } = object as unknown as { spec: { nodeName?: string; serviceAccountName?: string } };
  if (spec.serviceAccountName !== account.metadata.name)
    throw badRequest(
      `cannot bind token for serviceaccount ${JSON.stringify(account.metadata.name)} to pod running with different serviceaccount name.`,
    );
  const node = spec.nodeName && registry.resources.need("", "v1", "nodes").bucket.get(spec.nodeName);
  return node ? { ...bound, node: { name: spec.nodeName!, uid: node.object.metadata.uid ?? "" } } : bound;
}

export function token(tokens: ServiceAccountTokens): Subresource {
  return {
    kind: info,
    async create(registry, resource, _context, target, object) {
      const account = (await get(resource, target.namespace, target.name)).object;
      // Go writes a missing lifetime as null.
      const { expirationSeconds, ...rest } = (object.spec ?? {}) as authn.TokenRequestSpec;
      const spec = { ...rest, expirationSeconds: expirationSeconds ?? 3600 };
      const { name = target.name, namespace = target.namespace } = object.metadata;
      if (name !== target.name) throw badRequest(`the name of the object (${name}) does not match the name on the URL (${target.name})`);
      if (namespace !== target.namespace)
        throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
      if (account.metadata.uid === undefined) throw notFound({ resource: "serviceaccounts" }, target.name);
      if (!Number.isInteger(spec.expirationSeconds))
        throw invalid({ group: info.group, kind: info.kind }, "", [
          {
            reason: "FieldValueInvalid",
            field: "spec.expirationSeconds",
            message: `Invalid value: ${String(spec.expirationSeconds)}: must be a whole number`,
          },
        ]);
      const bound = spec.boundObjectRef && (await boundTo(registry, target.namespace, account, spec.boundObjectRef));
      const status = await tokens.create({ namespace: target.namespace!, name: target.name, uid: account.metadata.uid }, spec, bound);
      const filled = {
        ...object,
        metadata: {
          ...object.metadata,
          name,
          namespace,
          creationTimestamp: new Date(registry.now()).toISOString().replace(/\.\d+Z$/, "Z"),
        },
      };
      const answer = { ...filled, spec: { ...spec, audiences: tokens.audiencesOf(spec) }, status };
      return new Entry("", 0, answer as unknown as KubeObject);
    },
  };
}
