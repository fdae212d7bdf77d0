// The CRI's ImageService over the image store.
import { ImageService } from "../../rpc/gen/cri/runtime_pb.ts";
import { type Service, service } from "../../rpc/service.ts";
import type { Containers } from "../container/containers.ts";
import { diskUsage } from "../container/stats.ts";
import { wrapPullError } from "../images/errors.ts";
import type { Puller } from "../images/registry.ts";
import type { ImageStore } from "../images/store.ts";
import * as layout from "../layout.ts";
import { imageItem, info } from "./convert.ts";

export interface ImageServiceOptions extends layout.RuntimePaths {
  images: ImageStore;
  containers: Containers;
  /** Loaded at the first pull. */
  puller: () => Promise<Puller>;
}

/** Milliseconds that a look at the disk stays good. */
const USAGE_AGE = 10_000;

export function imageService(o: ImageServiceOptions): Service {
  const { images } = o;
  const usage = new Map<string, { at: number; value: { bytes: bigint; inodes: bigint } }>();

  const used = (path: string) => {
    const known = usage.get(path);
    if (known !== undefined && Date.now() - known.at < USAGE_AGE) return known.value;
    const value = diskUsage(path);
    usage.set(path, { at: Date.now(), value });
    return value;
  };

  const filesystem = (path: string) => {
    const { bytes, inodes } = used(path);
    return {
      timestamp: BigInt(Date.now()) * 1_000_000n,
      fsId: { mountpoint: path },
      usedBytes: { value: bytes },
      inodesUsed: { value: inodes },
    };
  };

  return service(ImageService, {
    listImages: ({ filter }) => {
      const wanted = filter?.image?.image ?? "";
      const found = wanted === "" ? images.list() : [images.find(wanted)].filter((i) => i !== undefined);
      return { images: found.map((i) => imageItem(i, images.config(i))) };
    },

    imageStatus: ({ image, verbose }) => {
      const found = images.find(image?.image ?? "");
      if (found === undefined) return {};
      const config = images.config(found);
      return { image: imageItem(found, config), info: info(verbose, "info", () => ({ imageSpec: config })) };
    },

    async pullImage({ image, auth }) {
      const name = image?.image ?? "";
      const known = images.find(name);
      // Made here, on no registry anywhere.
      if (known?.pinned) return { imageRef: known.id };
      try {
        const puller = await o.puller();
        return { imageRef: (await puller.pull(name, auth)).id };
      } catch (error) {
        throw wrapPullError(name, error);
      }
    },

    async removeImage({ image }) {
      const found = images.find(image?.image ?? "");
      if (found !== undefined && !found.pinned) await images.remove(image!.image, o.containers.layersInUse());
      return {};
    },

    imageFsInfo: () => ({
      imageFilesystems: [filesystem(images.root)],
      containerFilesystems: [filesystem(layout.containers(o))],
    }),
  });
}
