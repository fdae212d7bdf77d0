// grpc.health.v1.Health (grpc/grpc, doc/health-checking.md).
import { Health, HealthCheckResponse_ServingStatus as Serving } from "./gen/grpc/health/v1/health_pb.ts";
import { type Service, service } from "./service.ts";
import { Code, RpcError } from "./types.ts";

/** Says of the services of a server whether they serve. */
export class HealthStatus {
  readonly #statuses = new Map<string, Serving>([["", Serving.SERVING]]);
  readonly #listeners = new Set<() => void>();

  /** @param name of the service with its package; "" stands for the whole server */
  set(name: string, serving: boolean): void {
    this.#statuses.set(name, serving ? Serving.SERVING : Serving.NOT_SERVING);
    for (const listener of [...this.#listeners]) listener();
  }

  /** For createRpcServer. */
  get service(): Service {
    const statuses = this.#statuses;
    const changed = (signal: AbortSignal) => this.#changed(signal);
    return service(Health, {
      check({ service: name }) {
        const status = statuses.get(name);
        if (status === undefined) throw new RpcError(Code.NotFound, "unknown service");
        return { status };
      },
      async *watch({ service: name }, { signal }) {
        let last: Serving | undefined;
        while (!signal.aborted) {
          const change = changed(signal);
          const status = statuses.get(name) ?? Serving.SERVICE_UNKNOWN;
          if (status !== last) yield { status };
          last = status;
          await change;
        }
      },
    });
  }

  /** Resolves with the next change, or when the signal aborts. */
  #changed(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const done = () => {
      this.#listeners.delete(done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    this.#listeners.add(done);
    signal.addEventListener("abort", done);
    return promise;
  }
}
