import { expect, it } from "vitest";
import { expectedOutput, runExample } from "./run-example.js";

it("prints what the closing comment of the NestJS example says, in that order", async () => {
  const run = await runExample("tsx examples/nestjs.ts");
  expect(run).toMatchObject({ exitCode: 0, stderr: "", stdout: expectedOutput("examples/nestjs.ts") });
});
