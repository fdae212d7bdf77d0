// Acting as somebody else, where RBAC lets one (kubectl --as).
import { badRequest } from "../../api/status.ts";
import type { Attributes, UserInfo } from "../request.ts";
import type { Incoming } from "./incoming.ts";

const serviceAccount = /^system:serviceaccount:([^:]+):([^:]+)$/;
const extraPrefix = "impersonate-extra-";

/** The user that a request acts as. Throws 403 where the one who sends it may not. */
export function impersonated(incoming: Incoming, user: UserInfo, check: (attributes: Attributes) => void): UserInfo {
  const name = incoming.header("impersonate-user");
  const groups = incoming.headerValues("impersonate-group");
  const uid = incoming.header("impersonate-uid");
  const extra: Record<string, string[]> = {};
  for (const header of incoming.fields.filter((name, i) => i % 2 === 0 && name.startsWith(extraPrefix)))
    extra[decodeURIComponent(header.slice(extraPrefix.length))] = incoming.headerValues(header);
  if (!name) {
    if (groups.length || uid || Object.keys(extra).length) throw badRequest("requested without impersonating a user");
    return user;
  }
  const may = (group: string, resource: string, what: string, namespace?: string, subresource?: string) =>
    check({ user, verb: "impersonate", resource: { group, version: "v1", resource, name: what, namespace, subresource }, path: "" });
  const account = serviceAccount.exec(name);
  if (account) may("", "serviceaccounts", account[2]!, account[1]);
  else may("", "users", name);
  for (const g of groups) may("", "groups", g);
  if (uid) may("authentication.k8s.io", "uids", uid);
  for (const [key, values] of Object.entries(extra)) for (const v of values) may("authentication.k8s.io", "userextras", v, undefined, key);
  const all = new Set(groups);
  if (account && groups.length === 0) {
    all.add("system:serviceaccounts");
    all.add(`system:serviceaccounts:${account[1]}`);
  }
  if (name === "system:anonymous") all.add("system:unauthenticated");
  else all.add("system:authenticated");
  return { name, groups: [...all], ...(uid ? { uid } : {}), ...(Object.keys(extra).length ? { extra } : {}) };
}
