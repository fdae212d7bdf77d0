// The OpenAPI documents of the apiserver, built when first asked for and kept
// as bytes. Make a new one when the served resources change.
import type { ServedResource } from "../discovery.ts";
import { apiVersion } from "../object.ts";
import { schemaText } from "../schema.ts";
import { docsText } from "./docs.ts";
import { buildV2 } from "./v2.ts";
import { encodeV2 } from "./v2-protobuf.ts";
import { buildV3 } from "./v3.ts";

export interface Document {
  bytes: Uint8Array<ArrayBuffer>;
  /** For ETag and ?hash=, upper-case hex. */
  hash: string;
}

/** The media types of /openapi/v2, JSON first. */
export const v2MediaTypes = ["application/json", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"] as const;

/** The Content-Type to answer with: what clients ask for has an "@", which no header may carry. */
export const v2ContentTypes: Readonly<Record<(typeof v2MediaTypes)[number], string>> = {
  "application/json": "application/json",
  "application/com.github.proto-openapi.spec.v2@v1.0+protobuf": "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
};

/** "api/v1" or "apis/apps/v1": the key of a group version in /openapi/v3. */
const pathOf = (gv: { group: string; version: string }) => `${gv.group === "" ? "api" : "apis"}/${apiVersion(gv)}`;

const sha = (text: string | Uint8Array) => new Bun.CryptoHasher("sha512").update(text).digest("hex").toUpperCase();

export class OpenApi {
  readonly #resources = new Map<string, ServedResource[]>();
  readonly #version: string;
  readonly #built = new Map<string, Document>();
  #base?: string;

  /** @param version of the server, as "v1.35.0" */
  constructor(resources: Iterable<ServedResource>, version: string) {
    this.#version = version;
    for (const r of resources) {
      const path = pathOf(r.info);
      this.#resources.set(path, [...(this.#resources.get(path) ?? []), r]);
    }
  }

  #cached(key: string, build: () => { bytes: Uint8Array<ArrayBuffer>; hash?: string }): Document {
    let document = this.#built.get(key);
    if (!document) {
      const { bytes, hash } = build();
      document = { bytes, hash: hash ?? sha(bytes) };
      this.#built.set(key, document);
    }
    return document;
  }

  /** Of a group version's document without building it: of all that goes into it. */
  #hash(path: string): string {
    this.#base ??= sha(schemaText() + docsText()) + this.#version;
    return sha(this.#base + JSON.stringify(this.#resources.get(path)));
  }

  /** /openapi/v3 */
  v3Index(): Document {
    return this.#cached("v3", () => {
      const paths = Object.fromEntries(
        [...this.#resources.keys()].sort().map((path) => [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${this.#hash(path)}` }]),
      );
      return { bytes: Buffer.from(JSON.stringify({ paths })) };
    });
  }

  /** /openapi/v3/PATH as JSON, `path` as "apis/apps/v1"; undefined when there is none. */
  v3(path: string): Document | undefined {
    const resources = this.#resources.get(path);
    if (!resources) return undefined;
    return this.#cached(`v3/${path}`, () => ({
      bytes: Buffer.from(JSON.stringify(buildV3(resources, this.#version))),
      hash: this.#hash(path),
    }));
  }

  /** /openapi/v2 */
  v2(mediaType: (typeof v2MediaTypes)[number] = "application/json"): Document {
    return this.#cached(mediaType, () => {
      const document = buildV2([...this.#resources.values()].flat(), this.#version);
      return { bytes: mediaType === "application/json" ? Buffer.from(JSON.stringify(document)) : encodeV2(document) };
    });
  }
}
