import { expect, test } from "bun:test";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { makePod } from "../testing/pods.ts";
import { containerSecurity } from "./security.ts";

const security = (securityContext?: coreV1.SecurityContext) =>
  containerSecurity(makePod(), { name: "a", image: "img:1", ...(securityContext ? { securityContext } : {}) }, { uid: 0 }, "/seccomp");

test("the kernel's files are masked, unless a container is privileged or asks for an unmasked /proc", () => {
  // To a runtime an empty list means that nothing is masked.
  for (const context of [undefined, {}, { privileged: false }, { procMount: "Default" as const }]) {
    const { maskedPaths, readonlyPaths } = security(context);
    expect(maskedPaths).toContain("/proc/kcore");
    expect(maskedPaths).toContain("/sys/firmware");
    expect(readonlyPaths).toContain("/proc/sys");
  }
  for (const context of [{ privileged: true }, { procMount: "Unmasked" as const }])
    expect(security(context)).toMatchObject({ maskedPaths: [], readonlyPaths: [] });
});

test("a container that must not run as root does not", () => {
  expect(() => security({ runAsNonRoot: true })).toThrow("container has runAsNonRoot and image will run as root");
  expect(() => security({ runAsNonRoot: true, runAsUser: 0 })).toThrow("container's runAsUser breaks non-root policy");
  expect(security({ runAsNonRoot: true, runAsUser: 5 })).toMatchObject({ runAsUser: { value: 5n } });
});
