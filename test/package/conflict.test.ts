import { mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { createProject, type Project } from "./project.js";

const dependencies = {
  "@opentelemetry/context-async-hooks": "2",
  "@opentelemetry/sdk-trace": "2",
  "newer-api": "npm:@opentelemetry/api@1.10.0",
};
const seen = ["greet", "greet", "greet", "greet"];
const conflict = expect.stringMatching(/sees no spans.*@opentelemetry\/api 1\.9\.1.*newer copy/);

let project: Project;
beforeAll(async () => {
  project = await createProject("conflict", dependencies);
  const nested = join(project.folder, "node_modules/otel-taskflow/node_modules/@opentelemetry");
  mkdirSync(nested, { recursive: true });
  renameSync(join(project.folder, "node_modules/newer-api"), join(nested, "api"));
});

test("an application on an older API is told once through its diag logger, and its tasks run", async () => {
  expect(await project.json("main.cjs", "sdk", "diag")).toEqual({ seen, told: [conflict], warnings: [] });
});

test("an application on an older API without a diag logger gets one process warning, and its tasks run", async () => {
  const { stdout } = await project.node("main.cjs", "sdk", "no-logger");
  const warnings = [{ code: "OTEL_TASKFLOW_API_CONFLICT", message: conflict }];
  expect(JSON.parse(stdout)).toEqual({ seen, told: [], warnings });
});

test("an application on an older API that registered no SDK is told nothing", async () => {
  expect(await project.json("main.cjs", "no-sdk", "diag")).toEqual({ seen, told: [], warnings: [] });
});
