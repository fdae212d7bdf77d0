// Collects what is wrong with an object, in the words of
// k8s.io/apimachinery/pkg/util/validation/field.
import type { FieldError } from "../status.ts";

/** How Go's field.Error prints the value: strings quoted, objects as JSON. */
function shown(value: unknown): string {
  return value === undefined ? "null" : JSON.stringify(value);
}

export class Errors {
  readonly list: FieldError[] = [];

  #add(reason: FieldError["reason"], field: string, message: string): void {
    this.list.push({ reason, field, message });
  }
  required(field: string, detail = ""): void {
    this.#add("FieldValueRequired", field, detail ? `Required value: ${detail}` : "Required value");
  }
  invalid(field: string, value: unknown, detail: string): void {
    this.#add("FieldValueInvalid", field, `Invalid value: ${shown(value)}: ${detail}`);
  }
  notSupported(field: string, value: unknown, supported: readonly string[]): void {
    const list = [...supported].sort().map(shown).join(", ");
    this.#add("FieldValueNotSupported", field, `Unsupported value: ${shown(value)}: supported values: ${list}`);
  }
  duplicate(field: string, value: unknown): void {
    this.#add("FieldValueDuplicate", field, `Duplicate value: ${shown(value)}`);
  }
  forbidden(field: string, detail: string): void {
    this.#add("FieldValueForbidden", field, `Forbidden: ${detail}`);
  }
  notFound(field: string, value: unknown): void {
    this.#add("FieldValueNotFound", field, `Not found: ${shown(value)}`);
  }
  tooLong(field: string, bytes: number): void {
    this.#add("FieldValueTooLong", field, `Too long: may not be more than ${bytes} bytes`);
  }
  tooMany(field: string, actual: number, most: number): void {
    this.#add("FieldValueTooMany", field, `Too many: ${actual}: must have at most ${most} items`);
  }

  /** Adds one Invalid for each sentence that a name check returned. */
  names(field: string, value: string, sentences: readonly string[]): void {
    for (const s of sentences) this.invalid(field, value, s);
  }
  /** Adds an error unless the number is zero or more. */
  nonNegative(field: string, value: number | undefined): void {
    if (value !== undefined && value < 0) this.invalid(field, value, "must be greater than or equal to 0");
  }
  port(field: string, value: number | undefined): void {
    if (value === undefined || !Number.isInteger(value) || value < 1 || value > 65535) {
      this.invalid(field, value ?? 0, "must be between 1 and 65535, inclusive");
    }
  }
}

export const IMMUTABLE = "field is immutable";

/** A check of one kind; `old` is the stored object on an update. */
export type Validator<T = never> = (object: T, errors: Errors, old: T | undefined) => void;
