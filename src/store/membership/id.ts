// Ids that members agree on without having talked: hashes of what all of them
// were told (etcd's server/etcdserver/api/membership).

const hash = (data: string | Uint8Array): bigint =>
  new DataView(new Bun.CryptoHasher("sha1").update(data).digest().buffer as ArrayBuffer).getBigUint64(0);

/**
 * The id of a member.
 *
 * @param token --initial-cluster-token
 * @param seconds since the epoch, of a member that is added to a running cluster; absent at bootstrap
 */
export function memberIdOf(peerUrls: readonly string[], token: string, seconds?: number): bigint {
  return hash(`${[...peerUrls].sort().join("")}${token}${seconds ?? ""}`);
}

/** The id of a new cluster with these members. */
export function clusterIdOf(memberIds: readonly bigint[]): bigint {
  const sorted = [...memberIds].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const bytes = new Uint8Array(sorted.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [i, id] of sorted.entries()) view.setBigUint64(i * 8, id);
  return hash(bytes);
}
