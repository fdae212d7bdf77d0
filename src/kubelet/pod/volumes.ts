// The volumes of one pod: all set up before its first container, and those
// that show API objects brought up to date when these change.
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { VolumeManager } from "../volumes/manager.ts";
import { type PodContext, recorder } from "./context.ts";

/** The volumes can't be set up yet; each failure has its event. */
export class VolumesNotReady extends Error {
  override name = "VolumesNotReady";
}

export class PodVolumes {
  readonly #ctx: PodContext;
  #ready = false;
  /** A pod found running at start has volumes that may be out of date. */
  #stale = true;

  constructor(ctx: PodContext) {
    this.#ctx = ctx;
  }

  /** What the volumes show may have changed. */
  invalidate(): void {
    this.#stale = true;
  }

  /** Sets all up, once. Throws VolumesNotReady. */
  async setUp(pod: coreV1.Pod, signal: AbortSignal): Promise<void> {
    if (this.#ready) return this.refresh(pod);
    this.#stale = false;
    const volumes = pod.spec.volumes ?? [];
    const failed = await this.#each(pod, volumes);
    if (signal.aborted) return;
    if (failed.length > 0) throw new VolumesNotReady(`unmounted volumes=[${failed.join(" ")}]`);
    this.#ready = true;
  }

  /** Brings live volumes up to date if something they show may have changed. */
  async refresh(pod: coreV1.Pod): Promise<void> {
    if (!this.#stale) return;
    this.#stale = false;
    const failed = await this.#each(
      pod,
      (pod.spec.volumes ?? []).filter((v) => VolumeManager.isLive(v)),
    );
    // Running containers go on with what they have.
    if (failed.length > 0)
      this.#ctx.log.warn("Volumes could not be brought up to date", {
        pod: `${pod.metadata.namespace}/${pod.metadata.name}`,
        volumes: failed,
      });
  }

  async #each(pod: coreV1.Pod, volumes: coreV1.Volume[]): Promise<string[]> {
    const failed: string[] = [];
    await Promise.all(
      volumes.map(async (volume) => {
        try {
          await this.#ctx.volumes.setUp(pod, volume);
        } catch (error) {
          failed.push(volume.name);
          const message = error instanceof Error ? error.message : String(error);
          recorder(this.#ctx, pod)(
            "Warning",
            "FailedMount",
            `MountVolume.SetUp failed for volume ${JSON.stringify(volume.name)} : ${message}`,
          );
        }
      }),
    );
    return failed;
  }
}
