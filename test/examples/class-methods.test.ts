import { expect, it } from "vitest";
import { expectedOutput, runExample } from "./run-example.js";

it("prints what the closing comment of the example with methods says", async () => {
  const run = await runExample("tsx examples/class-methods.ts");
  expect(run).toMatchObject({ exitCode: 0, stderr: "", stdout: expectedOutput("examples/class-methods.ts") });
});
