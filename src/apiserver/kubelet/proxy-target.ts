/** What the name in a proxy path tells: "web", "web:8080", "https:web:https" (apimachinery's SplitSchemeNamePort). */
export function proxyTarget(text: string): { scheme: "http" | "https"; name: string; port: string } {
  const parts = text.split(":");
  if (parts.length === 3 && (parts[0] === "http" || parts[0] === "https" || parts[0] === ""))
    return { scheme: parts[0] || "http", name: parts[1]!, port: parts[2]! };
  return { scheme: "http", name: parts[0]!, port: parts[1] ?? "" };
}
