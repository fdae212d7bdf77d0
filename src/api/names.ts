// Which names and label values are well formed (k8s.io/apimachinery/pkg/util/validation),
// with upstream's sentences for those that are not. Each function returns the
// sentences, empty when the value is fine.

const example = (message: string, regex: string, ...examples: string[]) =>
  `${message} (e.g. ${examples.map((e) => `'${e}'`).join(",  or ")}, regex used for validation is '${regex}')`;

const labelRegex = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const subdomainRegex = `${labelRegex}(\\.${labelRegex})*`;
const qualifiedRegex = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const labelValueRegex = `(${qualifiedRegex})?`;

const whole = (regex: string) => new RegExp(`^(?:${regex})$`);
const dnsLabel = whole(labelRegex);
const dnsSubdomain = whole(subdomainRegex);
const qualified = whole(qualifiedRegex);
const value = whole(labelValueRegex);
const service = whole("[a-z]([-a-z0-9]*[a-z0-9])?");

const tooLong = (limit: number) => `must be no more than ${limit} bytes`;
const bytes = (text: string) => (text.length < 22 ? text.length : Buffer.byteLength(text));

/** A DNS label: at most 63 characters (RFC 1123). */
export function dns1123Label(text: string): string[] {
  const errors: string[] = [];
  if (bytes(text) > 63) errors.push(tooLong(63));
  if (!dnsLabel.test(text))
    errors.push(
      dnsSubdomain.test(text)
        ? "must not contain dots"
        : example(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
            labelRegex,
            "my-name",
            "123-abc",
          ),
    );
  return errors;
}

/** A DNS subdomain: at most 253 characters (RFC 1123). */
export function dns1123Subdomain(text: string): string[] {
  const errors: string[] = [];
  if (bytes(text) > 253) errors.push(tooLong(253));
  if (!dnsSubdomain.test(text))
    errors.push(
      example(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
        subdomainRegex,
        "example.com",
      ),
    );
  return errors;
}

/** A DNS label that starts with a letter (RFC 1035), as Services need. */
export function dns1035Label(text: string): string[] {
  const errors: string[] = [];
  if (bytes(text) > 63) errors.push(tooLong(63));
  if (!service.test(text))
    errors.push(
      example(
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
        "[a-z]([-a-z0-9]*[a-z0-9])?",
        "my-name",
        "abc-123",
      ),
    );
  return errors;
}

/** A label or annotation key: an optional DNS subdomain and a slash, then at most 63 characters. */
export function qualifiedName(text: string): string[] {
  const errors: string[] = [];
  const parts = text.split("/");
  let name = text;
  if (parts.length === 2) {
    name = parts[1]!;
    if (parts[0] === "") errors.push("prefix part must be non-empty");
    else errors.push(...dns1123Subdomain(parts[0]!).map((e) => `prefix part ${e}`));
  } else if (parts.length > 2) {
    return [
      `a qualified name ${example("must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character", qualifiedRegex, "MyName", "my.name", "123-abc")} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  }
  if (name === "") errors.push("name part must be non-empty");
  else if (bytes(name) > 63) errors.push(`name part ${tooLong(63)}`);
  if (!qualified.test(name))
    errors.push(
      `name part ${example("must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character", qualifiedRegex, "MyName", "my.name", "123-abc")}`,
    );
  return errors;
}

/** A label's value: at most 63 characters, or empty. */
export function labelValue(text: string): string[] {
  const errors: string[] = [];
  if (bytes(text) > 63) errors.push(tooLong(63));
  if (!value.test(text))
    errors.push(
      example(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        labelValueRegex,
        "MyValue",
        "my_value",
        "12345",
      ),
    );
  return errors;
}
