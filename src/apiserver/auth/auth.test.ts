import { describe, expect, test } from "bun:test";
import type * as rbac from "../../api/gen/rbac/v1.ts";
import { StatusError } from "../../api/status.ts";
import type { Attributes, UserInfo } from "../request.ts";
import { Authenticator, parseTokenFile } from "./authenticator.ts";
import { bootstrapRbac } from "./bootstrap-roles.ts";
import { forbiddenFor, RbacAuthorizer } from "./rbac.ts";
import { ServiceAccountTokens } from "./service-account-tokens.ts";

async function keys() {
  const { generateKeyPairSync } = await import("node:crypto");
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    signingKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    publicKeysPem: [publicKey.export({ type: "spki", format: "pem" }) as string],
  };
}

const account = { metadata: { name: "robot", namespace: "default", uid: "u1" } };

async function tokens(pods: Map<string, string> = new Map()) {
  return new ServiceAccountTokens({
    issuer: "https://issuer",
    ...(await keys()),
    lookup: {
      serviceAccount: (ns, name) => (ns === "default" && name === "robot" ? account : undefined),
      pod: (_ns, name) => (pods.has(name) ? { metadata: { name, uid: pods.get(name)! } } : undefined),
      secret: () => undefined,
      node: () => undefined,
    },
  });
}

describe("authentication", () => {
  test("a certificate's subject is the user and its organizations the groups", async () => {
    const user = await new Authenticator({}).authenticate({ subject: { CN: "jane", O: ["dev", "ops"] } });
    expect(user).toEqual({ name: "jane", groups: ["dev", "ops", "system:authenticated"] });
  });
  test("no credentials are the anonymous user, and a wrong token is refused", async () => {
    const a = new Authenticator({ tokens: [{ token: "right", user: "jane" }], serviceAccounts: await tokens() });
    expect((await a.authenticate({})).name).toBe("system:anonymous");
    expect((await a.authenticate({ authorization: "Bearer right" })).name).toBe("jane");
    for (const wrong of ["Bearer wrong", "Bearer a.b.c", "bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."]) {
      const refusal = await a.authenticate({ authorization: wrong }).catch((e: unknown) => e);
      expect(refusal).toBeInstanceOf(StatusError);
      expect((refusal as StatusError).code).toBe(401);
    }
  });
  test("a token file's lines are users", () => {
    expect(parseTokenFile('t1,jane,1,"a,b"\n\nt2,joe,2\n')).toEqual([
      { token: "t1", user: "jane", uid: "1", groups: ["a", "b"] },
      { token: "t2", user: "joe", uid: "2", groups: [] },
    ]);
    expect(() => parseTokenFile("t1,jane,1\nbroken")).toThrow("token file line 2");
  });
});

describe("service account tokens", () => {
  test("stand for their account while it is there", async () => {
    const t = await tokens();
    const { token } = await t.create({ namespace: "default", name: "robot", uid: "u1" }, { audiences: [] });
    expect(await t.verify(token)).toMatchObject({
      name: "system:serviceaccount:default:robot",
      uid: "u1",
      groups: ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"],
    });
    const old = await t.create({ namespace: "default", name: "robot", uid: "of a deleted account" }, { audiences: [] });
    expect(await t.verify(old.token)).toBeUndefined();
  });
  test("bound to a pod end with it", async () => {
    const pods = new Map([["p", "pod-uid"]]);
    const t = await tokens(pods);
    const { token } = await t.create(
      { namespace: "default", name: "robot", uid: "u1" },
      { audiences: [] },
      { kind: "Pod", name: "p", uid: "pod-uid" },
    );
    expect((await t.verify(token))?.extra?.["authentication.kubernetes.io/pod-name"]).toEqual(["p"]);
    pods.delete("p");
    expect(await t.verify(token)).toBeUndefined();
  });
  test("are for their audience only, and not of another issuer's key", async () => {
    const t = await tokens();
    const { token } = await t.create({ namespace: "default", name: "robot", uid: "u1" }, { audiences: ["vault"] });
    expect(await t.verify(token)).toBeUndefined();
    expect(await t.verify(token, ["vault"])).toBeDefined();
    expect(await (await tokens()).verify(token, ["vault"])).toBeUndefined();
  });
  test("live at least ten minutes", async () => {
    const refusal = await (await tokens())
      .create({ namespace: "default", name: "robot", uid: "u1" }, { audiences: [], expirationSeconds: 60 })
      .catch((e: unknown) => e);
    expect((refusal as Error).message).toContain(
      "spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes",
    );
  });
});

describe("role-based access control", () => {
  const objects = bootstrapRbac();
  const roles = new Map(objects.filter((o) => o.kind === "ClusterRole").map((o) => [o.metadata.name!, o as rbac.ClusterRole]));
  const reader: rbac.RoleBinding = {
    metadata: { name: "readers", namespace: "team" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "view" },
    subjects: [
      { kind: "User", name: "jane" },
      { kind: "ServiceAccount", name: "robot" },
    ],
  };
  const authorizer = new RbacAuthorizer({
    clusterRole: (name) => roles.get(name),
    role: () => undefined,
    generation: () => 0,
    clusterRoleBindings: () => objects.filter((o) => o.kind === "ClusterRoleBinding") as rbac.ClusterRoleBinding[],
    roleBindings: (ns) => (ns === "team" ? [reader] : []),
  });
  const user = (name: string, ...groups: string[]): UserInfo => ({ name, groups: [...groups, "system:authenticated"] });
  const on = (u: UserInfo, verb: string, resource: string, namespace?: string): Attributes => {
    const [plural, subresource] = resource.split("/");
    return {
      user: u,
      verb,
      path: "",
      resource: {
        group: "",
        version: "v1",
        resource: plural!,
        ...(subresource ? { subresource } : {}),
        ...(namespace ? { namespace } : {}),
      },
    };
  };
  const rows: [title: string, attributes: Attributes, allowed: boolean][] = [
    ["masters may do anything", on(user("root", "system:masters"), "delete", "nodes"), true],
    ["a bound user may read in the namespace", on(user("jane"), "list", "pods", "team"), true],
    ["but not elsewhere", on(user("jane"), "list", "pods", "other"), false],
    ["nor write", on(user("jane"), "delete", "pods", "team"), false],
    ["nor read secrets", on(user("jane"), "get", "secrets", "team"), false],
    [
      "a service account without a namespace is of the binding's",
      on(user("system:serviceaccount:team:robot"), "get", "pods/log", "team"),
      true,
    ],
    ["of another namespace it is another", on(user("system:serviceaccount:other:robot"), "get", "pods", "team"), false],
    ["a node may create pods' tokens", on(user("system:node:a", "system:nodes"), "create", "serviceaccounts/token", "x"), true],
    [
      "everyone may look at the version",
      { user: { name: "system:anonymous", groups: ["system:unauthenticated"] }, verb: "get", path: "/version" },
      true,
    ],
    ["but not at metrics", { user: user("jane"), verb: "get", path: "/metrics" }, false],
    ["discovery is for those who are known", { user: user("jane"), verb: "get", path: "/apis/apps/v1" }, true],
  ];
  for (const [title, attributes, allowed] of rows) test(title, () => expect(authorizer.authorize(attributes).allowed).toBe(allowed));

  test("a binding counts from the moment it is there until it is gone", () => {
    const bound: rbac.RoleBinding[] = [];
    let generation = 0;
    const changing = new RbacAuthorizer({
      clusterRole: (name) => roles.get(name),
      role: () => undefined,
      generation: () => generation,
      clusterRoleBindings: () => [],
      roleBindings: () => bound,
    });
    const asked = on(user("jane"), "list", "pods", "team");
    const said: boolean[] = [];
    for (const change of [() => {}, () => bound.push(reader), () => bound.pop()]) {
      change();
      generation++;
      said.push(changing.authorize(asked).allowed);
    }
    expect(said).toEqual([false, true, false]);
  });

  test("an allowance tells which binding it comes from", () => {
    expect(authorizer.authorize(on(user("system:serviceaccount:team:robot"), "get", "pods", "team")).reason).toBe(
      'RBAC: allowed by RoleBinding "readers/team" of ClusterRole "view" to ServiceAccount "robot/team"',
    );
    expect(authorizer.authorize(on(user("a", "system:nodes"), "get", "services", "x")).reason).toBe(
      'RBAC: allowed by ClusterRoleBinding "system:node" of ClusterRole "system:node" to Group "system:nodes"',
    );
  });

  test("a refusal names the user, the verb and the resource", () => {
    expect(forbiddenFor(on(user("jane"), "list", "pods", "x")).message).toBe(
      'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "x"',
    );
    expect(forbiddenFor(on(user("jane"), "create", "pods/exec", "x")).message).toContain(
      'cannot create resource "pods/exec" in API group ""',
    );
  });
});
