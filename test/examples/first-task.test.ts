import { expect, it } from "vitest";
import { expectedOutput, runExample } from "./run-example.js";

it("prints what the first task's closing comment says", async () => {
  const run = await runExample("tsx examples/first-task.ts");
  expect(run).toMatchObject({ exitCode: 0, stderr: "", stdout: expectedOutput("examples/first-task.ts") });
});
