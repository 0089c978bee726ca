import { runAttempt } from "otel-taskflow";
import { taskLogPrefix } from "otel-taskflow/console";
import { expect, test } from "vitest";
import { startTelemetry } from "../support/telemetry.js";

test("is empty outside a task, under a span too", () => {
  const telemetry = startTelemetry();
  telemetry.provider.getTracer("test").startActiveSpan("request", (span) => {
    expect(taskLogPrefix()).toBe("");
    span.end();
  });
});

test("what a name or an id is made of ends neither the line nor the prefix", async () => {
  const info = { funcName: "100%s\n\u001b[2J", taskId: 'a"b]\u2028', attempt: 0 };
  const prefix = await runAttempt(info, () => taskLogPrefix());
  expect(prefix).toBe('["100%s  [2J" task_attempt=0 task_id="a\\"b] "]'.replace("%s  [", "%s ["));
});

test("other fields are said in their order, texts and numbers alone", () => {
  const fields = {
    more: {},
    none: undefined,
    ok: true,
    task_name: "charge",
    size: 7n,
    empty: "",
    run: () => 1,
    nil: null,
  };
  expect(taskLogPrefix(fields)).toBe('[charge ok=true size=7 empty=""]');
});

test("fields that cannot be read give none", () => {
  const fields = {
    get order(): string {
      throw new Error("hidden");
    },
  };
  expect(taskLogPrefix(fields)).toBe("");
});
