// Generated from proto/ by scripts/generate.ts. Do not edit.

export type Quantity = string;
