// What the server tells of itself: its version, discovery, the keys of its
// service account tokens. Each document is made once.
import { createHash, createPublicKey } from "node:crypto";
import { mediaTypes, negotiate, parseAccept, type Transform } from "../../api/codec/media.ts";
import { Discovery, type ServedResource } from "../../api/discovery.ts";
import { OpenApi, v2ContentTypes, v2MediaTypes } from "../../api/openapi/mod.ts";
import { notAcceptable } from "../../api/status.ts";
import { encoderOf } from "./encode.ts";
import type { Incoming } from "./incoming.ts";
import { json, Reply } from "./reply.ts";

export const version = {
  major: "1",
  minor: "35",
  emulationMajor: "1",
  emulationMinor: "35",
  minCompatibilityMajor: "1",
  minCompatibilityMinor: "34",
  gitVersion: "v1.35.0+kubun",
  gitCommit: "",
  gitTreeState: "clean",
  buildDate: "1970-01-01T00:00:00Z",
  goVersion: "",
  compiler: `bun ${process.versions.bun ?? ""}`.trim(),
  platform: `${process.platform}/${process.arch === "x64" ? "amd64" : process.arch}`,
};

const aggregated: Transform[] = ["v2", "v2beta1"].map((v) => ({ group: "apidiscovery.k8s.io", version: v, kind: "APIGroupDiscoveryList" }));

export interface DocumentsOptions {
  /** Everything that is served now. */
  resources(): Iterable<ServedResource>;
  /** "host:port" as clients reach it. */
  serverAddress(): string;
  issuer: string;
  publicKeysPem: readonly string[];
}

export class Documents {
  readonly #options: DocumentsOptions;
  #discovery: Discovery | undefined;
  #api: OpenApi | undefined;
  readonly #made = new Map<string, { body: Uint8Array; etag: string }>();

  constructor(options: DocumentsOptions) {
    this.#options = options;
  }

  /** Forgets what depends on the set of resources. */
  changed(): void {
    this.#discovery = undefined;
    this.#api = undefined;
    this.#made.clear();
  }

  get discovery(): Discovery {
    this.#discovery ??= new Discovery(this.#options.resources());
    return this.#discovery;
  }

  get #openapi(): OpenApi {
    this.#api ??= new OpenApi(this.#options.resources(), version.gitVersion.replace(/\+.*/, ""));
    return this.#api;
  }

  /** /openapi/v2, which clients of old ask for in protobuf. */
  openapiV2(incoming: Incoming): Reply {
    const wanted = parseAccept(incoming.header("accept") ?? "*/*").map((m) => m.type);
    const type = v2MediaTypes.find((t) => wanted.some((w) => w === t || w === "*/*" || w === "application/*")) ?? v2MediaTypes[0];
    return this.#openapiReply(this.#openapi.v2(type), v2ContentTypes[type], incoming);
  }

  /** /openapi/v3 and what is below it. */
  openapiV3(path: string, query: URLSearchParams, incoming: Incoming): Reply | undefined {
    const document = path === "" ? this.#openapi.v3Index() : this.#openapi.v3(path);
    if (!document) return undefined;
    const hash = query.get("hash");
    if (hash && hash !== document.hash) return new Reply(301, { location: `/openapi/v3/${path}?hash=${document.hash}` });
    const reply = this.#openapiReply(document, "application/json", incoming);
    // Under its hash a document never changes.
    if (hash) reply.fields["cache-control"] = "public, immutable";
    return reply;
  }

  #openapiReply(document: { bytes: Uint8Array; hash: string }, type: string, incoming: Incoming): Reply {
    const etag = `"${document.hash}"`;
    const fields = { "content-type": type, etag, vary: "Accept", "cache-control": "no-cache, private" };
    return incoming.header("if-none-match") === etag ? new Reply(304, fields) : new Reply(200, fields, document.bytes);
  }

  version(): Reply {
    return json(200, version);
  }

  /** /api or /apis, in the form that the client asks for. */
  async root(which: "api" | "apis", incoming: Incoming): Promise<Reply> {
    const negotiated = negotiate(incoming.header("accept"), { formats: ["json", "yaml"], transforms: aggregated });
    if (!negotiated) throw notAcceptable(Object.values(mediaTypes));
    const { as, format } = negotiated;
    const type = as ? `${mediaTypes[format]};g=${as.group};v=${as.version};as=${as.kind}` : mediaTypes[format];
    const document = () =>
      as
        ? this.discovery.aggregated(which, as.version)
        : which === "api"
          ? this.discovery.versions(this.#options.serverAddress())
          : this.discovery.groups();
    return this.#document(`${which} ${type}`, type, incoming, (await encoderOf(format)).object, document);
  }

  /** /apis/GROUP */
  group(name: string, incoming: Incoming): Promise<Reply | undefined> {
    return this.#plain(`group ${name}`, incoming, () => this.discovery.group(name));
  }

  /** /api/v1 and /apis/GROUP/VERSION */
  resources(group: string, v: string, incoming: Incoming): Promise<Reply | undefined> {
    return this.#plain(`resources ${group}/${v}`, incoming, () => this.discovery.resources({ group, version: v }));
  }

  async #plain(name: string, incoming: Incoming, make: () => object | undefined): Promise<Reply | undefined> {
    const negotiated = negotiate(incoming.header("accept"), { formats: ["json", "yaml"] });
    if (!negotiated) throw notAcceptable(Object.values(mediaTypes));
    const { format } = negotiated;
    if (!make()) return undefined;
    return this.#document(`${name} ${format}`, mediaTypes[format], incoming, (await encoderOf(format)).object, make);
  }

  #document(name: string, type: string, incoming: Incoming, encode: (o: object) => Uint8Array, make: () => object | undefined): Reply {
    let found = this.#made.get(name);
    if (!found) {
      const body = encode(make() ?? {});
      found = { body, etag: `"${createHash("sha512").update(body).digest("hex").toUpperCase()}"` };
      this.#made.set(name, found);
    }
    const fields = { "content-type": type, etag: found.etag, vary: "Accept", "cache-control": "public" };
    if (incoming.header("if-none-match") === found.etag) return new Reply(304, fields);
    return new Reply(200, fields, found.body);
  }

  /** /.well-known/openid-configuration */
  openid(): Reply {
    return json(200, {
      issuer: this.#options.issuer,
      jwks_uri: `https://${this.#options.serverAddress()}/openid/v1/jwks`,
      response_types_supported: ["id_token"],
      subject_types_supported: ["public"],
      id_token_signing_alg_values_supported: [...new Set(this.#keys().map((k) => k.alg))],
    });
  }

  /** /openid/v1/jwks */
  jwks(): Reply {
    return new Reply(200, { "content-type": "application/jwk-set+json" }, JSON.stringify({ keys: this.#keys() }));
  }

  #keys() {
    return this.#options.publicKeysPem.map((pem) => {
      const key = createPublicKey(pem);
      const kid = createHash("sha256")
        .update(key.export({ type: "spki", format: "der" }))
        .digest("base64url");
      return { use: "sig", kid, alg: key.asymmetricKeyType === "rsa" ? "RS256" : "ES256", ...key.export({ format: "jwk" }) };
    });
  }
}
