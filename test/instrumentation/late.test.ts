import { afterAll, beforeAll, expect, test } from "vitest";
import { type Application, createApplication, type Environment } from "./application.js";

let application: Application;
beforeAll(async () => {
  application = await createApplication({}, {});
});
afterAll(() => application.remove());

const noticeOf = (library: string): string =>
  `otel-taskflow: ${library} is an ES module that was loaded before its instrumentation, which cannot reach it: ` +
  "load the set-up of OpenTelemetry by --import, or pass the module to withTasks() and use what that returns.\n";

test.each<[what: string, args: readonly string[], env: Environment, notices: readonly string[]]>([
  ["is told of each once", ["late.mjs"], {}, ["pg-boss", "graphile-worker"]],
  ["is not told of what it wraps by itself", ["late.mjs"], { WRAP: "yes" }, ["graphile-worker"]],
  ["is not told of what is switched off", ["late.mjs"], { CONFIG: '{"graphileWorker":false}' }, ["pg-boss"]],
  ["is told nothing where the set-up comes first", ["--import", "./otel.mjs", "late.mjs"], {}, []],
])("an application that loads ES modules before OpenTelemetry %s", async (_what, args, env, notices) => {
  const { code, stderr } = await application.node(args, env);
  expect({ code, stderr }).toEqual({ code: 0, stderr: notices.map(noticeOf).join("") });
});
