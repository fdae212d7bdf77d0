import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { importArchive } from "../images/archive.ts";
import { ImageStore } from "../images/store.ts";
import { type Base, buildImage, saveArchive } from "./build.ts";
import { expand, parseDockerfile, words } from "./dockerfile.ts";

const root = process.getuid?.() === 0;
if (!root) console.log("skipped: unpacking layers needs root");
const dir = mkdtempSync(join(tmpdir(), "kubun-build-test-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
let n = 0;

function folder(files: Record<string, string>): string {
  const at = join(dir, `ctx-${n++}`);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(at, name, ".."), { recursive: true });
    writeFileSync(join(at, name), content);
  }
  return at;
}

const nothing = async (name: string): Promise<Base> => {
  throw new Error(`no ${name}`);
};

async function built(files: Record<string, string>, base = nothing, buildArgs = {}) {
  const store = new ImageStore(join(dir, `store-${n++}`));
  const [image] = await buildImage({ dir: folder(files), name: "t:1", base, buildArgs }, ({ archive }) => importArchive(store, archive));
  const config = store.config(image!);
  const tree = (layer: string) => (readdirSync(layer, { recursive: true }) as string[]).sort();
  return { store, image: image!, config: config.config!, layers: store.lowerDirs(image!).reverse(), tree };
}

test.skipIf(!root)("a Dockerfile gives layers and a configuration", async () => {
  const { image, config, layers, tree } = await built(
    {
      Dockerfile: `# an app
FROM scratch
ARG PLACE=srv
ENV A=1
# Values are those from before the instruction.
ENV B="two words" A=2 \\
    C=$A-\${PLACE}
WORKDIR /\${PLACE}
COPY app.ts lib ./
COPY --chown=7:8 --chmod=600 secret /etc/deep/secret
EXPOSE 80 53/udp
LABEL org.test="x y"
USER 7:8
ENTRYPOINT ["bun"]
CMD ["app.ts", "$A"]
`,
      "app.ts": "app",
      "lib/one.ts": "1",
      "lib/sub/two.ts": "2",
      "lib/skipped.log": "no",
      secret: "s",
      ".dockerignore": "**/*.log\n",
    },
    nothing,
    { PLACE: "opt" },
  );
  expect(image.tags).toEqual(["docker.io/library/t:1"]);
  expect(config).toMatchObject({
    Env: ["A=2", "B=two words", "C=1-opt"],
    WorkingDir: "/opt",
    ExposedPorts: { "80/tcp": {}, "53/udp": {} },
    Labels: { "org.test": "x y" },
    User: "7:8",
    Entrypoint: ["bun"],
    Cmd: ["app.ts", "$A"],
  });
  expect(layers.map(tree)).toEqual([
    ["opt"],
    ["opt", "opt/app.ts", "opt/one.ts", "opt/sub", "opt/sub/two.ts"],
    ["etc", "etc/deep", "etc/deep/secret"],
  ]);
});

test.skipIf(!root)("FROM takes over the base's configuration and layers", async () => {
  const store = new ImageStore(join(dir, `store-${n++}`));
  const below = folder({ Dockerfile: 'FROM scratch\nENV X=1\nCOPY f /f\nENTRYPOINT ["a"]\nCMD ["b"]\n', f: "f" });
  await buildImage({ dir: below, name: "base:1", base: nothing }, ({ archive }) => importArchive(store, archive));
  const above = folder({ Dockerfile: 'FROM base:1\nENV Y=$X\nCOPY g /g\nENTRYPOINT ["c"]\n', g: "g" });
  const base = async (name: string): Promise<Base> => ({ config: store.config(store.find(name)!) });
  const [image] = await buildImage({ dir: above, name: "above:1", base }, ({ archive }) => importArchive(store, archive));
  const { config } = store.config(image!);
  expect([config?.Env, config?.Entrypoint, config?.Cmd]).toEqual([["X=1", "Y=1"], ["c"], undefined]);
  expect(store.lowerDirs(image!).map((l) => readdirSync(l))).toEqual([["g"], ["f"]]);
});

test.skipIf(!root)("a folder without a Dockerfile is the root file system", async () => {
  const { config, layers, tree } = await built({ "bin/sh": "#!", "etc/x": "x" });
  expect(layers.map(tree)).toEqual([["bin", "bin/sh", "etc", "etc/x"]]);
  expect(config.Cmd).toEqual(["/bin/sh"]);
});

test.skipIf(!root)("an archive that was saved, gzipped, can be imported", async () => {
  const file = join(dir, "out.tar.gz");
  await buildImage({ dir: folder({ "a/b": "c" }), name: "x.test/saved:2", base: nothing }, ({ archive }) => saveArchive(archive, file));
  expect(readFileSync(file).subarray(0, 2)).toEqual(Buffer.from([0x1f, 0x8b]));
  const [image] = await importArchive(new ImageStore(join(dir, `store-${n++}`)), file);
  expect(image?.tags).toEqual(["x.test/saved:2"]);
});

test.each([
  ["RUN ls", "line 2: RUN is not supported"],
  ["COPY absent /", 'line 2: COPY failed: "absent": not found'],
  ["COPY ../x /", "outside the folder"],
  ["COPY one", "line 2: COPY requires at least two arguments"],
  ["COPY --from=b a b", "only one stage"],
  ["FLY away", "line 2: unknown instruction: FLY"],
  ["EXPOSE eighty", "invalid containerPort: eighty"],
  ["ENV =1", "line 2"],
  ["FROM other", "more than one FROM"],
])("%s is refused with its line", async (line, message) => {
  const dir = folder({ Dockerfile: `FROM scratch\n${line}\n` });
  await expect(buildImage({ dir, name: "x", base: nothing }, async () => {})).rejects.toThrow(message);
});

test("instructions go over several lines, with comments between", () => {
  const [first, second] = parseDockerfile("FROM a\nENV A=1 \\\n  # why\n\n  B=2\n");
  expect([first?.name, second?.rest.replace(/\s+/g, " "), second?.line]).toEqual(["FROM", "A=1 B=2", 2]);
});

test("variables and words follow the language", () => {
  const variables = new Map([
    ["A", "1"],
    ["E", ""],
  ]);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the syntax under test
  expect(expand("$A ${A} ${B:-x} ${E:-y} ${A:+z} ${B:+z} \\$A", variables)).toBe("1 1 x y z  $A");
  expect(words('a \'b c\' "d \\"e" f\\ g')).toEqual(["a", "b c", 'd "e', "f g"]);
});
