// `kubun store snapshot save`: takes a snapshot of a running store, ours or a
// real etcd, or of a data directory of ours that nobody runs. The file gets its
// name once it is whole and on the disk.
import { readFileSync, renameSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { bool, command, duration, optionalText, text, UsageError } from "../flags.ts";
import { onlyFile } from "./arguments.ts";

const HASH_BYTES = 32;

const flags = {
  "data-dir": optionalText("DIR", "take it from this data directory of a store, or of a cluster, that is stopped; nobody is asked then"),
  endpoints: text("URL", "127.0.0.1:2379", "the member to ask: host:port, http://, https:// or unix://"),
  cacert: optionalText("FILE", "authorities that the server's certificate is checked with"),
  cert: optionalText("FILE", "the client's certificate"),
  key: optionalText("FILE", "its key"),
  user: optionalText("NAME:PASSWORD", "who asks, where authentication is enabled"),
  "insecure-skip-tls-verify": bool(false, "take any certificate of the server"),
  "command-timeout": duration(0, "how long it may take; 0 is without an end"),
};

export default command({
  name: "store snapshot save",
  summary: "Takes a snapshot of a store or a running etcd, with which 'snapshot restore' or etcd's own tools start again",
  usage: "FILE",
  flags,
  maxArguments: 1,
  async run(values, args, given) {
    const path = onlyFile("save", args);
    const dir = values["data-dir"];
    if (dir !== undefined && given.size > 1)
      throw new UsageError("--data-dir reads files and asks nobody: it goes with no flag that tells whom to ask");
    if (dir === undefined) return write(path, streamed(values));
    const { offlineSnapshot } = await import("../../store/backup/offline.ts");
    return write(path, offlineSnapshot(dir));
  },
});

/** Writes pieces of a snapshot, of which the last 32 bytes, however they are cut, are the hash of all before. */
async function write(path: string, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  const { syncDirectory } = await import("../../platform/files.ts");
  const part = `${path}.part`;
  const file = await open(part, "w", 0o600);
  try {
    const hash = new Bun.CryptoHasher("sha256");
    let held: Uint8Array = new Uint8Array(0);
    let size = 0;
    for await (const piece of pieces) {
      await file.writeFile(piece);
      size += piece.length;
      const bytes = Buffer.concat([held, piece]);
      const cut = Math.max(0, bytes.length - HASH_BYTES);
      hash.update(bytes.subarray(0, cut));
      held = bytes.subarray(cut);
    }
    if (size % 512 !== HASH_BYTES) throw new Error(`sha256 checksum not found [bytes: ${size}]`);
    if (!hash.digest().equals(held)) throw new Error("the snapshot does not have the hash that was sent with it");
    await file.datasync();
    renameSync(part, path);
    syncDirectory(dirname(resolve(path)));
    process.stdout.write(`Snapshot saved at ${path}\n`);
  } catch (error) {
    rmSync(part, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/** What the flags say of whom to ask. */
interface Asked {
  endpoints: string;
  cacert: string | undefined;
  cert: string | undefined;
  key: string | undefined;
  user: string | undefined;
  "insecure-skip-tls-verify": boolean;
  "command-timeout": number;
}

async function* streamed(values: Asked): AsyncGenerator<Uint8Array> {
  const { address, secure } = endpoint(values.endpoints);
  const [{ connect, createClient }, { Auth, Maintenance }] = await Promise.all([
    import("../../rpc/client.ts"),
    import("../../rpc/gen/etcd/rpc_pb.ts"),
  ]);
  const pem = (file: string | undefined) => (file === undefined ? undefined : readFileSync(file, "utf8"));
  const tls = {
    ca: pem(values.cacert),
    cert: pem(values.cert),
    key: pem(values.key),
    insecureSkipVerify: values["insecure-skip-tls-verify"],
  };
  const channel = connect(address, secure ? { tls } : {});
  try {
    const headers = await credentials(values.user, (name, password) => createClient(Auth, channel).authenticate({ name, password }));
    const timeout = values["command-timeout"] || undefined;
    for await (const { blob } of createClient(Maintenance, channel).snapshot({}, { headers, timeout })) yield blob;
  } finally {
    channel.close();
  }
}

function endpoint(text: string) {
  const unix = /^unix:\/\/(.+)$/.exec(text);
  if (unix) return { address: { unix: unix[1]! }, secure: false };
  const url = text.includes("://") ? text : `http://${text}`;
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const port = Number(/:(\d+)\/?$/.exec(url)?.[1]);
  if (!parsed || !["http:", "https:"].includes(parsed.protocol) || !port)
    throw new UsageError(
      `invalid value ${JSON.stringify(text)} for flag --endpoints: must be one host:port, http://, https:// or unix:// URL`,
    );
  return { address: { host: parsed.hostname.replace(/^\[|\]$/g, ""), port }, secure: parsed.protocol === "https:" };
}

async function credentials(user: string | undefined, authenticate: (name: string, password: string) => Promise<{ token: string }>) {
  if (user === undefined) return undefined;
  const at = user.indexOf(":");
  if (at < 1) throw new UsageError("invalid value for flag --user: must be NAME:PASSWORD");
  const { token } = await authenticate(user.slice(0, at), user.slice(at + 1));
  return { token };
}
