import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EtcdClient } from "../client/etcd-grpc.ts";
import { noEtcd, startEtcd } from "../testing/etcd.ts";
import { storeContract } from "../testing/store-contract.ts";
import { Store } from "./mod.ts";

const folder = () => mkdtempSync(join(tmpdir(), "kubun-store-"));

storeContract("the store in the same process", async () => {
  const dir = folder();
  const store = new Store({ dataDir: dir });
  await store.start();
  const client = store.client();
  return {
    client,
    close: async () => {
      await client.close();
      await store.stop();
      rmSync(dir, { recursive: true });
    },
  };
});

storeContract("the store over gRPC on a unix socket", async () => {
  const dir = folder();
  const store = new Store({ dataDir: join(dir, "data"), listen: [{ unix: join(dir, "etcd.sock") }] });
  await store.start();
  const client = new EtcdClient({ endpoints: [store.address!] });
  return {
    client,
    close: async () => {
      await client.close();
      await store.stop();
      rmSync(dir, { recursive: true });
    },
  };
});

if (noEtcd) console.log(`skipped: the contract against a real etcd: ${noEtcd}`);
else {
  storeContract("a real etcd over gRPC", async () => {
    const etcd = await startEtcd();
    const client = new EtcdClient({ endpoints: [etcd.endpoint] });
    return {
      client,
      close: async () => {
        await client.close();
        await etcd[Symbol.asyncDispose]();
      },
    };
  });
}
