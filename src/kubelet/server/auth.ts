// Who may use the kubelet's API: clients with a certificate of the cluster's
// authority or a bearer token, as RBAC says for nodes/… (Kubernetes
// documentation, "Kubelet authentication/authorization").
import type { TLSSocket } from "node:tls";
import type * as authenticationV1 from "../../api/gen/authentication/v1.ts";
import type * as authorizationV1 from "../../api/gen/authorization/v1.ts";
import type { ApiTransport } from "../../client/transport.ts";
import { HttpError } from "./http.ts";

interface User {
  name: string;
  groups: string[];
}

const allowFor = 300_000;
const denyFor = 30_000;
const maxAnswers = 1024;

const subresources: [prefix: string, subresource: string][] = [
  ["/stats", "stats"],
  ["/metrics", "metrics"],
  ["/logs", "log"],
  ["/spec", "spec"],
  ["/checkpoint", "checkpoint"],
  ["/configz", "configz"],
  ["/healthz", "healthz"],
  ["/pods", "pods"],
  ["/runningpods", "pods"],
];
const verbs: Record<string, string> = { GET: "get", HEAD: "get", POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" };

export class Authorizer {
  readonly #transport: ApiTransport;
  readonly #node: string;
  readonly #answers = new Map<string, { allowed: boolean; until: number }>();

  constructor(transport: ApiTransport, node: string) {
    this.#transport = transport;
    this.#node = node;
  }

  /** Throws HttpError 401 or 403. */
  async check(socket: TLSSocket, authorization: string | undefined, method: string, path: string): Promise<void> {
    const user = this.#certificate(socket) ?? (await this.#token(authorization));
    if (!user) throw new HttpError(401, "Unauthorized");
    if (user.groups.includes("system:masters")) return;
    const verb = verbs[method] ?? "get";
    const fine = subresources.find(([prefix]) => path === prefix || path.startsWith(`${prefix}/`))?.[1];
    // nodes/proxy covers all; the finer ones came later.
    for (const subresource of fine ? [fine, "proxy"] : ["proxy"]) if (await this.#allowed(user, verb, subresource)) return;
    throw new HttpError(
      403,
      `Forbidden (user=${user.name}, verb=${verb}, resource=nodes, subresource(s)=[${fine ? `${fine} proxy` : "proxy"}])\n`,
    );
  }

  #certificate(socket: TLSSocket): User | undefined {
    if (!socket.authorized) return undefined;
    const subject = socket.getPeerCertificate()?.subject as { CN?: string; O?: string | string[] } | undefined;
    if (!subject?.CN) return undefined;
    const groups = subject.O === undefined ? [] : Array.isArray(subject.O) ? subject.O : [subject.O];
    return { name: subject.CN, groups: [...groups, "system:authenticated"] };
  }

  async #token(authorization: string | undefined): Promise<User | undefined> {
    const token = /^Bearer (\S+)$/.exec(authorization ?? "")?.[1];
    if (!token) return undefined;
    const review = await this.#transport.create<authenticationV1.TokenReview>(
      { group: "authentication.k8s.io", version: "v1", resource: "tokenreviews" },
      { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", metadata: {}, spec: { token } },
    );
    const user = review.status?.authenticated ? review.status.user : undefined;
    return user?.username ? { name: user.username, groups: user.groups ?? [] } : undefined;
  }

  async #allowed(user: User, verb: string, subresource: string): Promise<boolean> {
    const key = JSON.stringify([user, verb, subresource]);
    const known = this.#answers.get(key);
    if (known && known.until > Date.now()) return known.allowed;
    const review = await this.#transport.create<authorizationV1.SubjectAccessReview>(
      { group: "authorization.k8s.io", version: "v1", resource: "subjectaccessreviews" },
      {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        metadata: {},
        spec: {
          user: user.name,
          groups: user.groups,
          resourceAttributes: { verb, version: "v1", resource: "nodes", subresource, name: this.#node },
        },
      },
    );
    const allowed = review.status?.allowed ?? false;
    if (this.#answers.size >= maxAnswers) this.#answers.clear();
    this.#answers.set(key, { allowed, until: Date.now() + (allowed ? allowFor : denyFor) });
    return allowed;
  }
}
