import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { createProject, type Project } from "./project.js";

let project: Project;
beforeAll(async () => {
  project = await createProject("copies", { "@opentelemetry/context-async-hooks": "2" });
  const vendored = join(project.folder, "vendored");
  cpSync(join(project.folder, "node_modules/otel-taskflow"), join(vendored, "node_modules/otel-taskflow"), {
    recursive: true,
  });
  writeFileSync(join(vendored, "load.cjs"), 'module.exports = require("otel-taskflow");\n');
});

test.each([
  { first: "esm", second: "cjs", manager: "no-manager" },
  { first: "esm", second: "cjs", manager: "manager" },
  { first: "cjs", second: "vendored", manager: "no-manager" },
  { first: "cjs", second: "vendored", manager: "manager" },
  { first: "esm", second: "vendored", manager: "manager" },
])("the $first and the $second copy share one task context ($manager)", async ({ first, second, manager }) => {
  expect(await project.json("main.cjs", first, second, manager)).toEqual({
    distinct: true,
    sharesContext: [[true], [true]],
    leavesContext: true,
    nested: ["inner", "outer"],
    guards: [true, true],
  });
});
