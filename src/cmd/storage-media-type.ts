import { choice, type Flag } from "./flags.ts";

const types = ["application/vnd.kubernetes.protobuf", "application/json"] as const;

export type StorageMediaType = (typeof types)[number];

/** Upstream's --storage-media-type. */
export const storageMediaType: Flag<StorageMediaType> = {
  ...choice(types, "application/vnd.kubernetes.protobuf", `how objects are stored, ${types.join(" or ")}; both are read`),
  placeholder: "TYPE",
};
