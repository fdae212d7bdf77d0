// Credentials of image registries from secrets (kubernetes.io/dockerconfigjson
// and kubernetes.io/dockercfg; Kubernetes documentation, "Images").
import type * as coreV1 from "../../api/gen/core/v1.ts";

interface AuthEntry {
  username?: string;
  password?: string;
  auth?: string;
  identitytoken?: string;
  registrytoken?: string;
}

/** By registry, with an optional path and glob: "*.example.com/team". */
export type DockerConfig = Record<string, AuthEntry>;

export interface Auth {
  username: string;
  password: string;
  serverAddress: string;
  identityToken: string;
  registryToken: string;
}

/** The registries that a secret knows; throws an Error naming the secret when it is malformed. */
export function dockerConfig(secret: coreV1.Secret): DockerConfig | undefined {
  const read = (key: string): unknown => {
    const data = secret.data?.[key];
    if (data === undefined) return undefined;
    try {
      return JSON.parse(Buffer.from(data, "base64").toString("utf8"));
    } catch (cause) {
      throw new Error(`secret ${secret.metadata.namespace}/${secret.metadata.name}: ${key} is not JSON`, { cause });
    }
  };
  if (secret.type === "kubernetes.io/dockerconfigjson") return (read(".dockerconfigjson") as { auths?: DockerConfig } | undefined)?.auths;
  if (secret.type === "kubernetes.io/dockercfg") return read(".dockercfg") as DockerConfig | undefined;
  return undefined;
}

/** Registry and path of an image; Docker Hub's where it names none. */
function location(image: string): { host: string; path: string } {
  const [first, ...rest] = image.split("/");
  const named = rest.length > 0 && (/[.:]/.test(first!) || first === "localhost");
  const path = (named ? rest.join("/") : image).replace(/@.*$/, "").replace(/:[^/]*$/, "");
  return { host: named ? first! : "docker.io", path };
}

const hubNames = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"]);

function matches(key: string, host: string, path: string): boolean {
  const [keyHost, ...keyPath] = key
    .replace(/^https?:\/\//, "")
    .replace(/\/(v1|v2)\/?$/, "")
    .replace(/\/$/, "")
    .split("/");
  const prefix = keyPath.join("/");
  if (prefix !== "" && path !== prefix && !path.startsWith(`${prefix}/`)) return false;
  if (hubNames.has(keyHost!) && hubNames.has(host)) return true;
  const pattern = keyHost!.split(/[.:]/);
  const parts = host.split(/[.:]/);
  if (pattern.length !== parts.length) return false;
  return pattern.every((p, i) => {
    const glob = new RegExp(
      `^${p
        .replace(/[.+^${}()|[\]\\]/g, "\\$&")
        .replaceAll("*", ".*")
        .replaceAll("?", ".")}$`,
    );
    return glob.test(parts[i]!);
  });
}

/** The credentials that fit an image, the most specific first. */
export function credentialsFor(image: string, configs: readonly DockerConfig[]): Auth[] {
  const { host, path } = location(image);
  const found: { key: string; auth: Auth }[] = [];
  for (const config of configs) {
    for (const [key, entry] of Object.entries(config)) {
      if (!matches(key, host, path)) continue;
      const [user, ...rest] = entry.auth ? Buffer.from(entry.auth, "base64").toString("utf8").split(":") : [];
      found.push({
        key,
        auth: {
          username: entry.username ?? user ?? "",
          password: entry.password ?? rest.join(":"),
          serverAddress: host,
          identityToken: entry.identitytoken ?? "",
          registryToken: entry.registrytoken ?? "",
        },
      });
    }
  }
  return found.sort((a, b) => b.key.length - a.key.length).map((f) => f.auth);
}
