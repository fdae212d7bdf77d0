// Pulls images by the distribution protocol (opencontainers/distribution-spec),
// with bearer tokens or basic authentication.
import { createReadStream, createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { message } from "../errors.ts";
import { HashingStream } from "./compression.ts";
import { AccessDenied, ImageNotFound } from "./errors.ts";
import {
  architecture,
  type Descriptor,
  digestOf,
  forThisMachine,
  type ImageConfig,
  isIndex,
  isManifest,
  type Manifest,
  MediaType,
} from "./oci.ts";
import { formatReference, parseReference, type Reference, repository } from "./reference.ts";
import type { ImageRecord, ImageStore } from "./store.ts";

export interface Credentials {
  username: string;
  password: string;
  /** base64 of "user:password". */
  auth: string;
  identityToken: string;
  registryToken: string;
}

const MANIFEST_TYPES = [MediaType.index, MediaType.manifest, MediaType.dockerIndex, MediaType.dockerManifest].join(", ");
/** Layers fetched at once. */
const PARALLEL = 3;
/** Bytes; the specification asks registries to take at least 4 MiB. */
const MAX_MANIFEST = 4 << 20;

const LOCAL = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/;

/** Where a registry answers: Docker's is not at its name, and one on this machine speaks plain HTTP. */
function endpoint(domain: string): string {
  if (domain === "docker.io") return "https://registry-1.docker.io";
  return `${LOCAL.test(domain) ? "http" : "https"}://${domain}`;
}

/** Why a connection failed, as Go's net package says it. */
function dialFailure(error: unknown, { hostname, host }: URL): string {
  const code = (error as { code?: string }).code ?? "";
  const failures: Record<string, string> = {
    ENOTFOUND: `dial tcp: lookup ${hostname}: no such host`,
    EAI_AGAIN: `dial tcp: lookup ${hostname}: Temporary failure in name resolution`,
    ECONNREFUSED: `dial tcp ${host}: connect: connection refused`,
  };
  return failures[code] ?? message(error);
}

class Session {
  readonly #base: string;
  readonly #reference: Reference;
  readonly #credentials: Credentials | undefined;
  #authorization: string | undefined;

  constructor(reference: Reference, credentials: Credentials | undefined) {
    this.#base = endpoint(reference.domain);
    this.#reference = reference;
    this.#credentials = credentials;
    if (credentials?.registryToken) this.#authorization = `Bearer ${credentials.registryToken}`;
  }

  async get(path: string, accept: string): Promise<Response> {
    const url = `${this.#base}/v2/${this.#reference.path}/${path}`;
    let response = await this.#fetch(url, accept);
    if (response.status === 401) {
      await response.body?.cancel();
      await this.#authorize(response.headers.get("www-authenticate") ?? "");
      response = await this.#fetch(url, accept);
    }
    if (response.ok) return response;
    const text = (await response.text()).slice(0, 300);
    if (response.status === 404) throw new ImageNotFound("not found");
    if (response.status === 401 || response.status === 403) {
      throw new AccessDenied(
        "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
      );
    }
    throw new Error(`unexpected status from GET request to ${url}: ${response.status} ${response.statusText}: ${text.trim()}`);
  }

  async #fetch(url: string, accept: string): Promise<Response> {
    const headers: Record<string, string> = { accept };
    if (this.#authorization !== undefined) headers.authorization = this.#authorization;
    try {
      // Blobs are often elsewhere; fetch drops the credentials when it follows to another host.
      return await fetch(url, { headers });
    } catch (error) {
      throw new Error(`failed to do request: Get ${JSON.stringify(url)}: ${dialFailure(error, new URL(url))}`, { cause: error });
    }
  }

  #basic(): string | undefined {
    const c = this.#credentials;
    if (c === undefined) return undefined;
    if (c.auth) return c.auth;
    return c.username ? Buffer.from(`${c.username}:${c.password}`).toString("base64") : undefined;
  }

  async #authorize(challenge: string): Promise<void> {
    const basic = this.#basic();
    if (/^basic/i.test(challenge)) {
      if (basic === undefined) throw new AccessDenied("pull access denied: no basic auth credentials");
      this.#authorization = `Basic ${basic}`;
      return;
    }
    const parameters = Object.fromEntries([...challenge.matchAll(/(\w+)="([^"]*)"/g)].map((m) => [m[1]!, m[2]!]));
    const realm = parameters.realm;
    if (!/^bearer/i.test(challenge) || realm === undefined)
      throw new AccessDenied(`unknown authentication challenge ${JSON.stringify(challenge)}`);
    const url = new URL(realm);
    if (parameters.service !== undefined) url.searchParams.set("service", parameters.service);
    url.searchParams.set("scope", parameters.scope ?? `repository:${this.#reference.path}:pull`);
    const response = await fetch(url, { headers: basic === undefined ? {} : { authorization: `Basic ${basic}` } });
    if (!response.ok) throw new AccessDenied(`failed to authorize: failed to fetch anonymous token: unexpected status: ${response.status}`);
    const { token, access_token } = (await response.json()) as { token?: string; access_token?: string };
    this.#authorization = `Bearer ${token ?? access_token ?? ""}`;
  }
}

export class Puller {
  readonly #store: ImageStore;
  /** Pulls under way, by reference: asking twice fetches once. */
  readonly #running = new Map<string, Promise<ImageRecord>>();

  constructor(store: ImageStore) {
    this.#store = store;
  }

  /** Fetches an image and unpacks it. Rejects with what containerd would say. */
  pull(name: string, credentials?: Credentials): Promise<ImageRecord> {
    const reference = parseReference(name);
    const key = formatReference(reference);
    let work = this.#running.get(key);
    if (work === undefined) {
      work = this.#pull(reference, credentials).finally(() => this.#running.delete(key));
      this.#running.set(key, work);
    }
    return work;
  }

  async #pull(reference: Reference, credentials: Credentials | undefined): Promise<ImageRecord> {
    const session = new Session(reference, credentials);
    let top: Buffer;
    try {
      top = await this.#manifestBytes(session, reference.digest ?? reference.tag!);
    } catch (error) {
      const name = formatReference(reference);
      const text = error instanceof ImageNotFound ? `${name}: not found` : message(error);
      const Kind = error instanceof ImageNotFound ? ImageNotFound : error instanceof AccessDenied ? AccessDenied : Error;
      throw new Kind(`failed to resolve reference ${JSON.stringify(name)}: ${text}`, { cause: error });
    }
    const manifest = await this.#choose(session, top);
    const configBytes = await this.#smallBlob(session, manifest.config);
    const config = JSON.parse(configBytes.toString()) as ImageConfig;
    const ids = config.rootfs?.diff_ids;
    if (!Array.isArray(ids) || ids.length !== manifest.layers.length) throw new Error("the image's config doesn't fit its manifest");
    using _hold = this.#store.hold(ids);
    const todo = manifest.layers.map((layer, i) => [ids[i]!, layer] as const);
    const worker = async () => {
      for (let next = todo.shift(); next !== undefined; next = todo.shift()) await this.#layer(session, ...next);
    };
    await Promise.all(Array.from({ length: PARALLEL }, worker));
    return this.#store.add({
      config,
      configBytes,
      // Users name the digest of what the tag points to, which may be an index.
      manifestBytes: top,
      names: reference.digest === undefined ? [formatReference(reference)] : [],
      repositories: [repository(reference)],
    });
  }

  async #manifestBytes(session: Session, which: string): Promise<Buffer> {
    const response = await session.get(`manifests/${which}`, MANIFEST_TYPES);
    const bytes = Buffer.from(await response.arrayBuffer());
    if (bytes.length > MAX_MANIFEST) throw new Error(`manifest has ${bytes.length} bytes, more than ${MAX_MANIFEST}`);
    if (which.includes(":") && digestOf(bytes) !== which)
      throw new Error(`manifest is damaged: its digest is ${digestOf(bytes)} in place of ${which}`);
    return bytes;
  }

  async #choose(session: Session, bytes: Buffer): Promise<Manifest> {
    const value = JSON.parse(bytes.toString()) as unknown;
    if (isManifest(value)) return value;
    if (!isIndex(value)) throw new Error("unsupported manifest format");
    const chosen = forThisMachine(value);
    if (chosen === undefined) throw new ImageNotFound(`no match for platform in manifest: linux/${architecture}: not found`);
    return this.#choose(session, await this.#manifestBytes(session, chosen.digest));
  }

  async #smallBlob(session: Session, descriptor: Descriptor): Promise<Buffer> {
    const response = await session.get(`blobs/${descriptor.digest}`, "*/*");
    const bytes = Buffer.from(await response.arrayBuffer());
    if (digestOf(bytes) !== descriptor.digest) throw new Error(`blob ${descriptor.digest} is damaged`);
    return bytes;
  }

  /** Downloads first and unpacks after, so that a stalled connection leaves nothing half unpacked. */
  async #layer(session: Session, diffId: string, layer: Descriptor): Promise<void> {
    if (this.#store.hasLayer(diffId)) return;
    const work = this.#store.temporary();
    try {
      const file = join(work, "blob");
      const response = await session.get(`blobs/${layer.digest}`, "*/*");
      if (response.body === null) throw new Error(`blob ${layer.digest} has no content`);
      const hash = new HashingStream();
      await pipeline(Readable.fromWeb(response.body as unknown as Parameters<typeof Readable.fromWeb>[0]), hash, createWriteStream(file));
      if (hash.digest() !== layer.digest) throw new Error(`blob ${layer.digest} is damaged on its way: got ${hash.digest()}`);
      await this.#store.addLayer(diffId, () => createReadStream(file));
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }
}
