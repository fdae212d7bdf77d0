// kubeconfig files (https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/)
// and the in-cluster configuration, as a RestConfig.
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import type { RestConfig } from "./http.ts";

interface Cluster {
  server?: string;
  "certificate-authority"?: string;
  "certificate-authority-data"?: string;
  "insecure-skip-tls-verify"?: boolean;
  "tls-server-name"?: string;
}

interface User {
  "client-certificate"?: string;
  "client-certificate-data"?: string;
  "client-key"?: string;
  "client-key-data"?: string;
  token?: string;
  tokenFile?: string;
  username?: string;
  password?: string;
  as?: string;
  "as-uid"?: string;
  "as-groups"?: string[];
  exec?: { command?: string };
  "auth-provider"?: { name?: string };
}

interface Context {
  cluster?: string;
  user?: string;
  namespace?: string;
}

export interface Kubeconfig {
  "current-context"?: string;
  clusters?: { name: string; cluster: Cluster }[];
  users?: { name: string; user: User }[];
  contexts?: { name: string; context: Context }[];
}

export interface KubeconfigOptions {
  /** Instead of the file's current-context. */
  context?: string;
  /** Instead of the cluster's server. */
  server?: string;
}

const inClusterRoot = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * Reads a kubeconfig file and returns what its context says.
 * @param file Path; relative paths inside the file count from its folder.
 * @throws Error naming the file and the entry that is missing or not supported.
 */
export async function loadKubeconfig(file: string, options: KubeconfigOptions = {}): Promise<RestConfig> {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`cannot read kubeconfig ${file}: ${(error as Error).message}`, { cause: error });
  }
  return parseKubeconfig(text, file, options);
}

/** As loadKubeconfig, from the text; `file` is what errors and relative paths refer to. */
export async function parseKubeconfig(text: string, file: string, options: KubeconfigOptions = {}): Promise<RestConfig> {
  let parsed: unknown;
  try {
    // JSON is the common case for files that programs write, and spares the YAML parser.
    parsed = text.trimStart().startsWith("{") ? JSON.parse(text) : (await import("yaml")).parse(text);
  } catch (error) {
    throw new Error(`kubeconfig ${file} is not valid YAML: ${(error as Error).message}`, { cause: error });
  }
  if (typeof parsed !== "object" || parsed === null) throw new Error(`kubeconfig ${file} is empty`);
  return resolve(parsed as Kubeconfig, file, options);
}

function resolve(config: Kubeconfig, file: string, options: KubeconfigOptions): RestConfig {
  const wanted = options.context ?? config["current-context"];
  const context = wanted ? config.contexts?.find((c) => c.name === wanted)?.context : undefined;
  if (wanted && !context) throw new Error(`context ${JSON.stringify(wanted)} does not exist in kubeconfig ${file}`);
  const cluster = context
    ? config.clusters?.find((c) => c.name === context.cluster)?.cluster
    : config.clusters?.length === 1
      ? config.clusters[0]!.cluster
      : undefined;
  const server = options.server ?? cluster?.server;
  if (!server) {
    throw new Error(
      context
        ? `cluster ${JSON.stringify(context.cluster ?? "")} has no server in kubeconfig ${file}`
        : `kubeconfig ${file} has no current-context`,
    );
  }
  const user = context
    ? config.users?.find((u) => u.name === context.user)?.user
    : config.users?.length === 1
      ? config.users[0]!.user
      : undefined;
  if (context?.user && !user) throw new Error(`user ${JSON.stringify(context.user)} does not exist in kubeconfig ${file}`);
  if (user?.exec)
    throw new Error(
      `user ${JSON.stringify(context?.user ?? "")} in kubeconfig ${file} gets credentials from the plugin ${JSON.stringify(user.exec.command ?? "")}, which is not supported; use a client certificate or a token`,
    );
  if (user?.["auth-provider"])
    throw new Error(`auth-provider ${JSON.stringify(user["auth-provider"].name ?? "")} in kubeconfig ${file} is not supported`);

  const at = (path: string) => (isAbsolute(path) ? path : join(dirname(file), path));
  const pem = (data: string | undefined, path: string | undefined, what: string): string | undefined => {
    if (data) return Buffer.from(data, "base64").toString("utf8");
    if (!path) return undefined;
    try {
      return readFileSync(at(path), "utf8");
    } catch (error) {
      throw new Error(`cannot read ${what} ${at(path)} of kubeconfig ${file}: ${(error as Error).message}`, { cause: error });
    }
  };
  const given: RestConfig = {
    server,
    ca: pem(cluster?.["certificate-authority-data"], cluster?.["certificate-authority"], "certificate-authority"),
    cert: pem(user?.["client-certificate-data"], user?.["client-certificate"], "client-certificate"),
    key: pem(user?.["client-key-data"], user?.["client-key"], "client-key"),
    token: user?.token,
    tokenFile: user?.tokenFile ? at(user.tokenFile) : undefined,
    username: user?.username,
    password: user?.password,
    insecureSkipTlsVerify: cluster?.["insecure-skip-tls-verify"],
    tlsServerName: cluster?.["tls-server-name"],
    impersonate: user?.as ? { user: user.as, groups: user["as-groups"], uid: user["as-uid"] } : undefined,
    namespace: context?.namespace,
  };
  return Object.fromEntries(Object.entries(given).filter(([, v]) => v !== undefined)) as unknown as RestConfig;
}

/** What a pod's service account mount and environment say. Throws when this is no pod. */
export function inClusterConfig(env: Record<string, string | undefined> = process.env, root = inClusterRoot): RestConfig {
  const host = env.KUBERNETES_SERVICE_HOST;
  const port = env.KUBERNETES_SERVICE_PORT;
  if (!host || !port) {
    throw new Error(
      "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined; outside of a pod give --kubeconfig",
    );
  }
  const namespace = join(root, "namespace");
  return {
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    ca: readFileSync(join(root, "ca.crt"), "utf8"),
    tokenFile: join(root, "token"),
    ...(existsSync(namespace) ? { namespace: readFileSync(namespace, "utf8").trim() } : {}),
  };
}

/**
 * The configuration a component or tool should use: the given file, else the
 * first file of $KUBECONFIG, else the pod's, else ~/.kube/config.
 */
export async function defaultConfig(file?: string, options?: KubeconfigOptions): Promise<RestConfig> {
  if (file) return loadKubeconfig(file, options);
  const listed = process.env.KUBECONFIG?.split(":").find((f) => f && existsSync(f));
  if (listed) return loadKubeconfig(listed, options);
  if (process.env.KUBERNETES_SERVICE_HOST) return inClusterConfig();
  return loadKubeconfig(join(homedir(), ".kube", "config"), options);
}
