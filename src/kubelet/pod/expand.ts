/**
 * Replaces $(NAME) by what `lookup` gives; $$ stands for one dollar, and a name
 * without a value stays as written (Kubernetes API, Container.command).
 */
export function expand(text: string, lookup: (name: string) => string | undefined): string {
  if (!text.includes("$")) return text;
  return text.replace(/\$(\$|\(([^)]*)\))/g, (whole, first: string, name?: string) => {
    if (first === "$") return "$";
    return lookup(name!) ?? whole;
  });
}
