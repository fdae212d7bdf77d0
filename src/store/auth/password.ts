// Passwords as etcd keeps them: bcrypt hashes. They are made before a command
// is proposed, for a hash is salted and every member has to hold the same one.

/** etcd's --bcrypt-cost when it isn't given. */
export const DEFAULT_COST = 10;
/** bcrypt takes no more bytes into account. */
const MOST_BYTES = 72;

/** The hash of a password, or undefined for one that is too long to be told from others. */
export async function hashPassword(password: string, cost: number): Promise<string | undefined> {
  const bytes = bytesOf(password);
  if (bytes.length > MOST_BYTES) return undefined;
  return Bun.password.hash(bytes, { algorithm: "bcrypt", cost });
}

/** Whether a hash, of ours or from an etcd, is this password's. */
export async function verifyPassword(password: string, hash: string): Promise<boolean> {
  if (!isHash(hash)) return false;
  return Bun.password.verify(bytesOf(password).subarray(0, MOST_BYTES), hash, "bcrypt");
}

export const isHash = (text: string) => /^\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}$/.test(text);

/** bcrypt's key is the password and a zero byte, over and over, so a lone zero byte has the hash of no password, which Bun refuses. */
const bytesOf = (password: string) => new TextEncoder().encode(password === "" ? "\0" : password);
