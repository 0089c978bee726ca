import { describe, expect, it } from "vitest";
import { expectedOutput, runExample } from "./run-example.js";

describe("examples/own-engine", () => {
  it("prints what its closing comment says", async () => {
    const run = await runExample("tsx examples/own-engine/main.ts");
    expect(run).toMatchObject({ exitCode: 0, stderr: "", stdout: expectedOutput("examples/own-engine/main.ts") });
  });

  it("keeps every rule of the engine contract, but those about what others store in its table", async () => {
    const { exitCode, stdout } = await runExample("tsx examples/own-engine/contract.ts");
    const [failed, passed, skipped] = ["fail", "pass", "skipped"].map((what) => countOf(stdout, what));
    expect([exitCode, failed, skipped]).toEqual([0, 0, 5]);
    expect(passed).toBeGreaterThan(90);
  });
});

/** As node:test sums it up, in whichever form. */
function countOf(stdout: string, what: string): number {
  return Number(new RegExp(`^\\S+ ${what} (\\d+)$`, "m").exec(stdout)?.[1]);
}
