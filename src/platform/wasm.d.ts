// `import path from "….wasm" with { type: "file" }` gives the file's path, also
// inside an executable that `bun build --compile` made.
declare module "*.wasm" {
  const path: string;
  export default path;
}
