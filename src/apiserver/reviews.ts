// Questions about who somebody is and what they may do: kinds that are
// answered and never stored.
import type * as authn from "../api/gen/authentication/v1.ts";
import type * as authz from "../api/gen/authorization/v1.ts";
import type { KubeObject } from "../api/object.ts";
import { kindOf } from "../api/schema.ts";
import { badRequest, invalid } from "../api/status.ts";
import type { Authenticator } from "./auth/authenticator.ts";
import type { RbacAuthorizer } from "./auth/rbac.ts";
import type { Fresh } from "./registry/strategy.ts";
import type { Attributes, RequestContext, UserInfo } from "./request.ts";
import { Entry } from "./storage/entry.ts";
import type { VirtualResource } from "./virtual.ts";

export interface ReviewOptions {
  authorizer: RbacAuthorizer;
  authenticator: Authenticator;
}

type Answer = (object: Fresh, context: RequestContext, namespace: string | undefined) => Promise<object> | object;

interface Row {
  group: string;
  kind: string;
  /** What becomes the review's status. */
  answer(options: ReviewOptions): Answer;
}

const AUTHZ = "authorization.k8s.io";
const AUTHN = "authentication.k8s.io";

function attributes(kind: string, spec: authz.SubjectAccessReviewSpec, user: UserInfo): Attributes {
  const { resourceAttributes: r, nonResourceAttributes: n } = spec;
  if ((r === undefined) === (n === undefined)) {
    const message = r
      ? "cannot specify both resourceAttributes and nonResourceAttributes"
      : "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    throw invalid({ group: AUTHZ, kind }, "", [
      { reason: "FieldValueInvalid", field: "spec.resourceAttributes", message: `Invalid value: null: ${message}` },
    ]);
  }
  if (n) return { user, verb: n.verb ?? "", path: n.path ?? "" };
  const { verb = "", group = "", version = "", resource = "", subresource, namespace, name } = r!;
  return {
    user,
    verb,
    path: "",
    resource: {
      group,
      version,
      resource,
      ...(subresource ? { subresource } : {}),
      ...(namespace ? { namespace } : {}),
      ...(name ? { name } : {}),
    },
  };
}

function subject(kind: string, spec: authz.SubjectAccessReviewSpec): UserInfo {
  if (!spec.user && !spec.groups?.length) {
    throw invalid({ group: AUTHZ, kind }, "", [
      { reason: "FieldValueInvalid", field: "spec.user", message: 'Invalid value: "": at least one of user or group must be specified' },
    ]);
  }
  return {
    name: spec.user ?? "",
    groups: spec.groups ?? [],
    ...(spec.uid ? { uid: spec.uid } : {}),
    ...(spec.extra ? { extra: spec.extra } : {}),
  };
}

const userInfo = (user: UserInfo): authn.UserInfo => ({
  username: user.name,
  ...(user.uid ? { uid: user.uid } : {}),
  groups: [...user.groups],
  ...(user.extra ? { extra: Object.fromEntries(Object.entries(user.extra).map(([k, v]) => [k, [...v]])) } : {}),
});

const decide = ({ authorizer }: ReviewOptions, a: Attributes): authz.SubjectAccessReviewStatus => {
  const { allowed, reason } = authorizer.authorize(a);
  return reason ? { allowed, reason } : { allowed };
};

const rows: readonly Row[] = [
  {
    group: AUTHZ,
    kind: "SubjectAccessReview",
    answer: (o) => (r) => decide(o, attributes("SubjectAccessReview", r.spec, subject("SubjectAccessReview", r.spec))),
  },
  {
    group: AUTHZ,
    kind: "SelfSubjectAccessReview",
    answer: (o) => (r, context) => decide(o, attributes("SelfSubjectAccessReview", r.spec, context.user)),
  },
  {
    group: AUTHZ,
    kind: "LocalSubjectAccessReview",
    answer: (o) => (r, _context, namespace) => {
      const spec = r.spec as authz.SubjectAccessReviewSpec;
      if ((spec.resourceAttributes?.namespace ?? "") !== namespace) {
        throw badRequest(`spec.resourceAttributes.namespace must match namespace: ${namespace}`);
      }
      return decide(o, attributes("LocalSubjectAccessReview", spec, subject("LocalSubjectAccessReview", spec)));
    },
  },
  {
    group: AUTHZ,
    kind: "SelfSubjectRulesReview",
    answer:
      ({ authorizer }) =>
      (r, context) => {
        const namespace = (r.spec as authz.SelfSubjectRulesReviewSpec).namespace;
        if (!namespace) throw badRequest("no namespace on request");
        return { ...authorizer.rulesFor(context.user, namespace), incomplete: false };
      },
  },
  {
    group: AUTHN,
    kind: "SelfSubjectReview",
    answer: () => (_r, context) => ({ userInfo: userInfo(context.user) }),
  },
  {
    group: AUTHN,
    kind: "TokenReview",
    answer:
      ({ authenticator }) =>
      async (r) => {
        const { token } = r.spec as authn.TokenReviewSpec;
        if (!token) throw badRequest("token is required for TokenReview in authentication");
        const user = await authenticator.authenticate({ authorization: `Bearer ${token}` }).catch(() => undefined);
        return user ? { authenticated: true, user: userInfo(user) } : { authenticated: false, user: {}, error: "invalid bearer token" };
      },
  },
];

/** The review resources, by "group/version/plural". */
export function reviews(options: ReviewOptions): Map<string, VirtualResource> {
  return new Map(
    rows.map((row) => {
      const info = kindOf({ group: row.group, version: "v1", kind: row.kind })!;
      const answer = row.answer(options);
      const resource: VirtualResource = {
        info,
        async create(context, target, object) {
          const status = await answer(object, context, target.namespace);
          return new Entry("", 0, Object.freeze({ ...object, status }) as KubeObject);
        },
      };
      return [`${row.group}/v1/${info.plural}`, resource] as const;
    }),
  );
}
