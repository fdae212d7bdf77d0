// Generated from proto/ by scripts/generate.ts. Do not edit.

export interface TypeMeta {
  apiVersion: string;
  kind: string;
}

export type RawExtension = unknown;

export interface Unknown {
  typeMeta: TypeMeta;
  raw: string;
  contentEncoding: string;
  contentType: string;
}
