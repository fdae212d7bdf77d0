// Images beyond the CRI: importing archives.
import { Images } from "../../rpc/gen/kubun/runtime/images_pb.ts";
import { type Service, service } from "../../rpc/service.ts";
import { Code, RpcError } from "../../rpc/types.ts";
import { message } from "../errors.ts";
import type { ImageStore } from "../images/store.ts";

export function importService(images: ImageStore): Service {
  return service(Images, {
    async import({ path, names }) {
      const { importArchive } = await import("../images/archive.ts");
      try {
        const added = await importArchive(images, path, names);
        return { images: added.map((i) => ({ id: i.id, names: i.tags })) };
      } catch (error) {
        throw new RpcError(Code.InvalidArgument, message(error), { cause: error });
      }
    },
  });
}
