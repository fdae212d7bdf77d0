// The apiserver's way to the kubelets: HTTPS with its client certificate.
import { internalError, StatusError, serviceUnavailable } from "../../api/status.ts";
import type { Upgrade } from "../../rpc/remotecommand/mod.ts";
import type { TlsClientOptions } from "../../rpc/types.ts";
import type { KubeletLocation } from "./location.ts";

export interface KubeletClientOptions {
  tls: TlsClientOptions;
}

export class KubeletClient {
  readonly #tls: TlsClientOptions;

  /** Without an authority no kubelet's certificate is verified, as upstream has it: a kubelet's own one is self-signed. */
  constructor({ tls }: KubeletClientOptions) {
    this.#tls = { ...tls, insecureSkipVerify: tls.insecureSkipVerify ?? tls.ca === undefined };
  }

  /** The answer to a GET, as a stream. Throws the Status that the kubelet's error stands for. */
  async get(location: KubeletLocation, signal?: AbortSignal): Promise<Response> {
    const response = await this.#fetch(location, { signal });
    if (response.ok) return response;
    const text = (await response.text()).trim();
    throw new StatusError({
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: text || response.statusText,
      reason: response.status === 404 ? "NotFound" : response.status === 400 ? "BadRequest" : "InternalError",
      code: response.status,
    });
  }

  /** Passes a request on and its answer back as it is. */
  proxy(location: KubeletLocation, request: Request): Promise<Response> {
    const headers = new Headers(request.headers);
    // Whoever asked is known to the apiserver; the kubelet knows the apiserver.
    for (const name of ["authorization", "host", "connection", "content-length"]) headers.delete(name);
    return this.#fetch(location, { method: request.method, headers, body: request.body, signal: request.signal });
  }

  /** Joins an upgraded connection to one with the kubelet, until either ends. */
  async upgrade(kind: "exec" | "attach" | "portforward", location: KubeletLocation, upgrade: Upgrade): Promise<void> {
    const { execStreams, proxyExec, proxyPortForward, queryOf } = await import("../../rpc/remotecommand/mod.ts");
    const target = { url: location.origin + location.path, tls: this.#tls, method: "POST" as const };
    if (kind === "portforward") return proxyPortForward(upgrade, target);
    return proxyExec(upgrade, target, execStreams(queryOf(upgrade)));
  }

  async #fetch({ origin, path }: KubeletLocation, init: RequestInit): Promise<Response> {
    try {
      const { ca, cert, key, insecureSkipVerify } = this.#tls;
      return await fetch(origin + path, { ...init, redirect: "manual", tls: { ca, cert, key, rejectUnauthorized: !insecureSkipVerify } });
    } catch (e) {
      if ((e as Error).name === "AbortError") throw e;
      const why = `Get "${origin}${path}": ${(e as Error).message}`;
      throw (e as { code?: string }).code === "ConnectionRefused" ? serviceUnavailable(why) : internalError(why);
    }
  }
}
