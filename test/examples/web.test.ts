import { expect, it } from "vitest";
import { printedFacts } from "./printed-facts.js";
import { expectedOutput, runExample } from "./run-example.js";

it.each(["fastify", "express", "hono"])("web/%s.ts prints what its closing comment says", async (framework) => {
  const example = `examples/web/${framework}.ts`;
  const run = await runExample(`tsx --import ./examples/web/instrumentation.ts ${example}`);
  expect(run).toMatchObject({ exitCode: 0, stderr: "" });
  expect(printedFacts(run.stdout)).toEqual(printedFacts(expectedOutput(example)));
});
