// What every layer below the transports knows of a request.

export interface UserInfo {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export const anonymous: UserInfo = { name: "system:anonymous", groups: ["system:unauthenticated"] };

/** What the server itself acts as. */
export const loopback: UserInfo = { name: "system:apiserver", groups: ["system:masters", "system:authenticated"] };

export interface RequestContext {
  readonly user: UserInfo;
  readonly dryRun?: boolean;
  /** Owner of the fields that a write sets; by default the first part of the user agent. */
  readonly fieldManager?: string;
  readonly fieldValidation?: "Ignore" | "Warn" | "Strict";
  /** Takes over fields that another manager owns; apply only. */
  readonly force?: boolean;
  /** Collects what goes into `Warning:` headers. */
  warn?(text: string): void;
}

/** What a request asks for, as authorization sees it. */
export interface Attributes {
  readonly user: UserInfo;
  readonly verb: string;
  /** Absent: a path that is no resource. */
  readonly resource?: {
    readonly group: string;
    readonly version: string;
    readonly resource: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly path: string;
}
