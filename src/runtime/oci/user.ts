// Who a container runs as, looked up in its own /etc/passwd and /etc/group.

export interface UserRequest {
  uid?: number;
  gid?: number;
  username?: string;
  /** "user", "uid", "user:group" or "uid:gid" of the image's config. */
  imageUser?: string;
  supplementalGroups: readonly number[];
  /** Adds the groups that /etc/group lists the user in. */
  mergeGroups: boolean;
}

export interface ResolvedUser {
  uid: number;
  gid: number;
  groups: number[];
}

const MAX_ID = 2 ** 32 - 2;
const isId = (text: string) => /^\d+$/.test(text) && Number(text) <= MAX_ID;

interface Passwd {
  name: string;
  uid: number;
  gid: number;
}

function passwd(text: string): Passwd[] {
  return text
    .split("\n")
    .map((line) => line.split(":"))
    .filter((f) => f.length >= 4 && isId(f[2]!) && isId(f[3]!))
    .map((f) => ({ name: f[0]!, uid: Number(f[2]), gid: Number(f[3]) }));
}

function groups(text: string): { name: string; gid: number; members: string[] }[] {
  return text
    .split("\n")
    .map((line) => line.split(":"))
    .filter((f) => f.length >= 3 && isId(f[2]!))
    .map((f) => ({ name: f[0]!, gid: Number(f[2]), members: (f[3] ?? "").split(",").filter((m) => m !== "") }));
}

/** @throws Error if a name isn't in the files, in containerd's words. */
export function resolveUser(request: UserRequest, passwdFile: string, groupFile: string): ResolvedUser {
  const users = passwd(passwdFile);
  const table = groups(groupFile);
  const [imageUser = "", imageGroup = ""] = (request.imageUser ?? "").split(":");
  const asked = request.uid !== undefined ? String(request.uid) : request.username || imageUser || "0";
  const byImage = request.uid === undefined && !request.username;
  const found = isId(asked) ? users.find((u) => u.uid === Number(asked)) : users.find((u) => u.name === asked);
  if (found === undefined && !isId(asked)) throw new Error(`unable to find user ${asked}: no matching entries in passwd file`);
  const uid = found?.uid ?? Number(asked);
  let gid = found?.gid ?? 0;
  if (request.gid !== undefined) gid = request.gid;
  else if (byImage && imageGroup !== "") {
    const group = isId(imageGroup) ? { gid: Number(imageGroup) } : table.find((g) => g.name === imageGroup);
    if (group === undefined) throw new Error(`unable to find group ${imageGroup}: no matching entries in group file`);
    gid = group.gid;
  }
  const merged = request.mergeGroups && found !== undefined ? table.filter((g) => g.members.includes(found.name)).map((g) => g.gid) : [];
  return { uid, gid, groups: [...new Set([gid, ...request.supplementalGroups, ...merged])] };
}
