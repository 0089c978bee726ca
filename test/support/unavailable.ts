import { describe, test } from "vitest";

/** In place of tests that need what is not there: a printed skip with its reason, and under CI=true a failure. */
export function describeUnavailable(title: string, reason: string): void {
  const required = process.env.CI === "true";
  if (!required) console.warn(`${title} is skipped: ${reason}`);
  describe(title, () => {
    test.skipIf(!required)("can be reached", () => {
      throw new Error(reason);
    });
  });
}
