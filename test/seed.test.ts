import { getTaskContext, runAttempt, TaskConfigError, taskLog } from "otel-taskflow";
import { expect, test } from "vitest";
import { createTasks } from "./support/tasks.js";
import { startTelemetry } from "./support/telemetry.js";

// The behaviours of the page this library was conceived from, one test each, under its headings.

test("The TaskContext fields: id, name, zero-based attempt, tags", async () => {
  const tasks = createTasks();
  const seen: unknown[] = [];
  const report = tasks.task("generate-report", () => {
    seen.push(getTaskContext());
  });
  const id = await tasks.addTask(report, [], { tags: { plan: "pro" } });
  await tasks.idle();
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(seen).toEqual([
    { taskId: id, funcName: "generate-report", attempt: 0, redelivered: false, maxAttempts: 1, tags: { plan: "pro" } },
  ]);
});

test("Basic usage: a task logs with its own id and attempt", async () => {
  const telemetry = startTelemetry();
  const tasks = createTasks();
  const sendEmail = tasks.task({ retries: 3, delay: 1 }, function sendEmail(address: string): void {
    const ctx = getTaskContext();
    taskLog(`Sending to ${address}`, { task_id: ctx?.taskId, attempt: ctx?.attempt ?? 0 });
  });
  const id = await tasks.addTask(sendEmail, ["a@example.com"]);
  await tasks.idle();
  const [event] = telemetry.span("process sendEmail").events;
  expect(event).toMatchObject({
    name: "Sending to a@example.com",
    attributes: { task_id: id, attempt: 0, "task.log.level": "info" },
  });
});

test("Using it inside a helper function: helpers read the context without being passed it", async () => {
  const tasks = createTasks();
  const sent: Record<string, unknown>[] = [];
  const validate = (data: { id?: string }): void => {
    taskLog("Validating payload", { attempt: getTaskContext()?.attempt, fields: Object.keys(data) });
    if (!data.id) throw new Error("Missing required field: id");
  };
  const enrich = (data: object): Record<string, unknown> => ({ ...data, _task_id: getTaskContext()?.taskId });
  const processEvent = tasks.task({ retries: 2 }, async function processEvent(data: { id?: string }): Promise<void> {
    validate(data);
    await Promise.resolve();
    sent.push(enrich(data));
  });
  const id = await tasks.addTask(processEvent, [{ id: "evt-1" }]);
  await tasks.idle();
  expect(sent).toEqual([{ id: "evt-1", _task_id: id }]);
});

test("Detecting first run vs retry: attempt 0 takes one path, retries another", async () => {
  const tasks = createTasks();
  const path: string[] = [];
  const syncInventory = tasks.task({ retries: 3, delay: 1, backoff: 2 }, function syncInventory(store: string): void {
    const ctx = getTaskContext();
    if (ctx && ctx.attempt === 0) {
      path.push(`full ${store}`);
      throw new Error("inventory service down");
    }
    if (ctx) path.push(`incremental ${store} ${ctx.attempt}`);
    if (ctx?.attempt === 1) throw new Error("still down");
  });
  await tasks.addTask(syncInventory, ["store-7"]);
  await tasks.idle();
  expect(path).toEqual(["full store-7", "incremental store-7 1", "incremental store-7 2"]);
});

test("Detecting first run vs retry: a warning is logged with level warning, normalised", async () => {
  const telemetry = startTelemetry();
  const tasks = createTasks();
  const sync = tasks.task("sync", () => taskLog("Running incremental sync on retry", { level: "warning" }));
  await tasks.addTask(sync);
  await tasks.idle();
  expect(telemetry.span("process sync").events[0]?.attributes).toEqual({ "task.log.level": "warn" });
});

test("Reading tags: a tag given at enqueue time routes the task", async () => {
  const tasks = createTasks();
  const made: string[] = [];
  const generateReport = tasks.task({ retries: 2 }, function generateReport(userId: number): void {
    const ctx = getTaskContext();
    const plan = ctx?.tags.plan ?? "free";
    made.push(`${plan === "enterprise" ? "full" : "summary"} report for ${userId}`);
  });
  await tasks.addTask(generateReport, [1], { tags: { plan: "enterprise", source: "api" } });
  await tasks.addTask(generateReport, [2], { tags: { plan: "basic", source: "api" } });
  await tasks.addTask(generateReport, [3]);
  await tasks.idle();
  expect(made).toEqual(["full report for 1", "summary report for 2", "summary report for 3"]);
});

test("Calling getTaskContext() outside a task: it is undefined, and shared code can tell", async () => {
  const lines: string[] = [];
  const logStep = (message: string): void => {
    const ctx = getTaskContext();
    lines.push(ctx ? `${ctx.funcName}: ${message}` : message);
  };
  logStep("script");
  await runAttempt({ funcName: "job" }, () => logStep("task"));
  logStep("script again");
  expect(lines).toEqual(["script", "job: task", "script again"]);
  expect(getTaskContext()).toBeUndefined();
});

test("Always guard against undefined: unguarded access is a type error, and throws", () => {
  // @ts-expect-error: the context may be undefined
  expect(() => getTaskContext().attempt).toThrow(TypeError);
  expect(getTaskContext()?.attempt ?? 0).toBe(0);
});

test("taskLog outside a task does nothing and throws nothing", () => {
  expect(taskLog("nobody listens", { any: "thing" })).toBeUndefined();
  expect(() => taskLog("nor here")).not.toThrow(TaskConfigError);
});
