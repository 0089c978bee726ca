import { afterAll, beforeAll, expect, test } from "vitest";
import { type Application, createApplication, type Environment } from "./application.js";

let application: Application;
beforeAll(async () => {
  application = await createApplication({}, {});
});
afterAll(() => application.remove());

const WRAP = "or pass the module to withTasks() and use what that returns.\n";
const late = (library: string): string =>
  `otel-taskflow: ${library} is an ES module that was loaded before its instrumentation, which cannot reach it: ` +
  `load the set-up of OpenTelemetry by --import, ${WRAP}`;
const unhooked = (library: string): string =>
  `otel-taskflow: ${library} is an ES module that was loaded without OpenTelemetry's hook, so that its instrumentation ` +
  `cannot reach it: register @opentelemetry/instrumentation/hook.mjs in the set-up of OpenTelemetry, ${WRAP}`;

const HOOK = ["--import", "./otel.mjs"];
const BOTH = ["pg-boss", "graphile-worker"];

test.concurrent.each<[what: string, args: readonly string[], env: Environment, notices: readonly string[]]>([
  ["before OpenTelemetry is told of each once", ["late.mjs"], {}, BOTH.map(late)],
  [
    "before OpenTelemetry is not told of what it wraps by itself",
    ["late.mjs"],
    { WRAP: "yes" },
    [late("graphile-worker")],
  ],
  [
    "before OpenTelemetry is not told of what is switched off",
    ["late.mjs"],
    { CONFIG: '{"graphileWorker":false}' },
    [late("pg-boss")],
  ],
  ["after OpenTelemetry is told nothing", [...HOOK, "late.mjs"], {}, []],
  ["without a hook is told of each once", [...HOOK, "late.mjs"], { HOOK: "no" }, BOTH.map(unhooked)],
  [
    "without a hook is told while it runs",
    [...HOOK, "late.mjs"],
    { HOOK: "no", STAYS: "yes" },
    [...BOTH.map(unhooked), "ends\n"],
  ],
  [
    "without a hook is not told of what it wraps by itself",
    [...HOOK, "late.mjs"],
    { HOOK: "no", WRAP: "yes" },
    [unhooked("graphile-worker")],
  ],
  [
    "without a hook is not told of what is switched off",
    [...HOOK, "late.mjs"],
    { HOOK: "no", CONFIG: '{"graphileWorker":false}' },
    [unhooked("pg-boss")],
  ],
])("an application that loads ES modules %s", async (_what, args, env, notices) => {
  const { code, stderr } = await application.node(args, env);
  expect({ code, stderr }).toEqual({ code: 0, stderr: notices.join("") });
});
