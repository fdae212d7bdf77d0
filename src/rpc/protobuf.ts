// What the wire needs of protobuf-es, file by file: its index also loads the JSON
// mapping and every well-known type, which cost a start 14 ms and 3 MiB.
export { create } from "../../node_modules/@bufbuild/protobuf/dist/esm/create.js";
export { fromBinary } from "../../node_modules/@bufbuild/protobuf/dist/esm/from-binary.js";
export { toBinary } from "../../node_modules/@bufbuild/protobuf/dist/esm/to-binary.js";

/** All of protobuf-es with the JSON mapping, loaded at the first call. */
export const protobufEs = () => require("@bufbuild/protobuf") as typeof import("@bufbuild/protobuf");
