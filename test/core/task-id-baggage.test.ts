import { propagation } from "@opentelemetry/api";
import {
  type Carrier,
  carryAttempt,
  continueAttempt,
  enqueueTask,
  isTaskConfigError,
  runAttempt,
  type TaskBaggage,
  TaskManager,
} from "otel-taskflow";
import { beforeEach, describe, expect, test } from "vitest";
import { createTasks } from "../support/tasks.js";
import { startTelemetry } from "../support/telemetry.js";

const JOB = { funcName: "job", taskId: "order-7", tags: { plan: "pro", region: "eu" } };

beforeEach(() => {
  startTelemetry();
});

function active(): Record<string, string> {
  const entries = propagation.getActiveBaggage()?.getAllEntries() ?? [];
  return Object.fromEntries(entries.map(([key, { value }]) => [key, value]));
}

describe("the task's id travels as baggage", () => {
  test.each<[string, TaskBaggage | undefined, Record<string, string>]>([
    ["not by itself", undefined, { "task.tag.plan": "pro", "task.tag.region": "eu" }],
    ["nor where all tags do", { tags: true }, { "task.tag.plan": "pro", "task.tag.region": "eu" }],
    ["beside all tags", { id: true }, { "task.id": "order-7", "task.tag.plan": "pro", "task.tag.region": "eu" }],
    ["beside some of them", { tags: ["plan"], id: true }, { "task.id": "order-7", "task.tag.plan": "pro" }],
    ["alone", { tags: false, id: true }, { "task.id": "order-7" }],
  ])("%s", async (_, baggage, expected) => {
    expect(await runAttempt({ ...JOB, baggage }, active)).toEqual(expected);
  });

  test("from a manager's tasks, each with its own", async () => {
    const tasks = createTasks({ baggage: { tags: false, id: true } });
    const seen: Record<string, string>[] = [];
    const child = tasks.task("child", () => void seen.push(active()));
    const parent = tasks.task("parent", async () => {
      seen.push(active());
      await tasks.addTask(child, [], { taskId: "b" });
    });
    await tasks.addTask(parent, [], { taskId: "a" });
    await tasks.idle();
    expect(seen).toEqual([{ "task.id": "a" }, { "task.id": "b" }]);
  });

  test("to a thread that does a part of the attempt", async () => {
    const carrier = await runAttempt({ ...JOB, baggage: { tags: false, id: true } }, carryAttempt);
    expect(await continueAttempt({ carrier }, active)).toEqual({ "task.id": "order-7" });
  });

  test("in a carrier, whose baggage gives no id to whoever does not ask for it", async () => {
    const carrier = await enqueueTask({ ...JOB, baggage: { id: true } }, (made: Carrier) => made);
    expect(carrier.baggage).toContain("task.id=order-7");
    expect(await runAttempt({ carrier, baggage: false }, active)).toEqual({});
  });
});

test("an id that a request claims gets nowhere", async () => {
  const carrier = { baggage: "task.id=mine,tenant=acme" };
  expect(await runAttempt({ ...JOB, carrier, baggage: { tags: false, id: true } }, active)).toEqual({
    ...{ "task.id": "order-7", tenant: "acme" },
  });
});

test("nor does one in capitals, as some propagators make headers of keys", async () => {
  const carrier = { baggage: "TASK.ID=mine,Task.Tag.plan=enterprise,tenant=acme" };
  expect(await runAttempt({ funcName: "job", carrier }, active)).toEqual({ tenant: "acme" });
});

test.each<[unknown, RegExp]>([
  [{ ids: true }, /^baggage: unknown option "ids"; expected one of tags, id/],
  [{ id: "yes" }, /^baggage: its id: expected true or false/],
  [{ tags: 5 }, /^baggage: expected true, false or an array/],
  ["plan", /^baggage: expected true, false or an array/],
])("%j is refused at once", (baggage, message) => {
  const make = (): TaskManager => new TaskManager({ baggage: baggage as TaskBaggage });
  expect(make).toThrow(message);
  expect(make).toThrow(expect.toSatisfy(isTaskConfigError));
});
