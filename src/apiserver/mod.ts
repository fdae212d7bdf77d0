import { createPublicKey } from "node:crypto";
import { parseNetwork } from "./services/ip.ts";

export { parseTokenFile } from "./auth/authenticator.ts";
export { ApiServer, type ApiServerOptions } from "./server.ts";

/** What is wrong with the networks of Services, "10.96.0.0/16" or one of each family; undefined where they are fine. */
export function checkNetworks(text: string): string | undefined {
  try {
    const networks = text.split(",").map(parseNetwork);
    if (networks.length > 2) return "at most two networks, one of each family";
    if (networks.length === 2 && networks[0]!.family === networks[1]!.family) return "two networks must be of different families";
    const small = networks.find((n) => n.size < 8n);
    return small && `${small.text} has room for fewer than 8 addresses`;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The public key of a private one, both PEM. */
export const publicKeyOf = (privatePem: string): string => String(createPublicKey(privatePem).export({ type: "spki", format: "pem" }));
