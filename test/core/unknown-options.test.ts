import { createPostgresBackend, withBackend } from "bullmq";
import {
  continueAttempt,
  enqueueTask,
  getTaskContext,
  isTaskConfigError,
  memoryEngine,
  runAttempt,
  type TaskContext,
  TaskManager,
} from "otel-taskflow";
import { bullmqEngine, withTask as bullmqTask } from "otel-taskflow/bullmq";
import { graphileEngine, withTask as graphileTask } from "otel-taskflow/graphile-worker";
import { pgBossEngine } from "otel-taskflow/pg-boss";
import { TaskTreeExporter } from "otel-taskflow/sdk";
import { describe, expect, test } from "vitest";
import { createTasks } from "../support/tasks.js";
import { collectDiag } from "../support/telemetry.js";

const nothing = (): void => {};
// options as JavaScript, or a configuration file, gives them
const odd = (options: object): never => options as never;
const named = (options: object): never => odd({ funcName: "f", carrier: {}, ...options });

/** Each call, an option of its that is misspelled, and the right one. */
const calls: [call: string, given: string, right: string, (options: never) => unknown][] = [
  ["new TaskManager()", "onfailure", "onFailure", (options) => new TaskManager(options)],
  ["task()", "retry", "retries", (options) => createTasks().task(options, nothing)],
  ["addTask()", "tag", "tags", (options) => addTask(createTasks(), options)],
  ["addTask()", "taskID", "taskId", (options) => addToScope(createTasks(), options)],
  ["callback()", "delays", "delay", (options) => createTasks().callback("tick", nothing, options)],
  ["shutdown()", "timeOut", "timeout", (options) => createTasks().shutdown(options)],
  ["memoryEngine()", "concurency", "concurrency", (options) => memoryEngine(options)],
  ["bullmqEngine()", "queueName", "queue", (options) => bullmqEngine(options)],
  ["pgBossEngine()", "expireIn", "expireInSeconds", (options) => pgBossEngine(options)],
  ["graphileEngine()", "pool", "pgPool", (options) => graphileEngine(options)],
  ["withTask()", "names", "name", (options) => bullmqTask(nothing, options)],
  ["withTask()", "schemas", "schema", (options) => graphileTask(nothing, options)],
  ["enqueueTask()", "func", "funcName", (options) => enqueueTask(named(options), nothing)],
  ["enqueueTask()", "isstored", "isStored", (options) => enqueueTask({ funcName: "f" }, nothing, options)],
  ["runAttempt()", "attempts", "attempt", (options) => runAttempt(named(options), nothing)],
  ["continueAttempt()", "carier", "carrier", (options) => continueAttempt(named(options), nothing)],
  ["TaskTreeExporter", "colour", "color", (options) => new TaskTreeExporter(options)],
];

describe("an option of another name", () => {
  test.each(calls)("%s refuses %j, and names %j", async (call, given, right, run) => {
    const error = await thrownBy(() => run(odd({ [given]: 1 })));
    expect(isTaskConfigError(error)).toBe(true);
    expect(String(error)).toContain(`${call}: unknown option "${given}"; expected one of `);
    expect(String(error).split(/expected one of |, /)).toContain(right);
  });

  test("is answered by all that there are", async () => {
    const error = await thrownBy(() => addTask(createTasks(), odd({ priority: 1 })));
    expect(String(error)).toContain('unknown option "priority"; expected one of tags, delay, taskId, retries');
  });

  test("is shown cut and without what a terminal or a store cannot hold", async () => {
    const error = await thrownBy(() => memoryEngine(odd({ [`\0\ud800\n${"x".repeat(1_000)}`]: 1 })));
    expect(String(error)).toContain('unknown option "\ufffd\ufffd\\nxxx');
    expect(String(error).length).toBeLessThan(200);
    expect(String(error).isWellFormed()).toBe(true);
  });

  test("is no option while it is undefined, inherited or a symbol", async () => {
    const options: object = Object.assign(Object.create({ priority: 1 }), { lane: undefined, [Symbol("mark")]: 1 });
    expect(await addTask(createTasks(), odd(options))).toEqual(expect.any(String));
  });

  test("that `each` of a callback makes is told to diag", async () => {
    const diag = collectDiag();
    await createTasks().callback("tick", nothing, () => odd({ retrys: 1 }))();
    expect(diag.join()).toContain('unknown option "retrys"; expected one of tags, delay, taskId, retries');
  });
});

test("producer and consumer may share what they say, and a TaskContext may be spread into it", async () => {
  const info = { funcName: "ship", system: "sqs", deferIf: () => false, logs: "event", delay: 5, attempt: 1 } as const;
  const sent = await enqueueTask(info, (sentCarrier) => sentCarrier);
  const seen = await runAttempt({ ...info, carrier: sent }, () => getTaskContext() as TaskContext);
  expect(await runAttempt({ ...seen, carrier: sent }, () => getTaskContext()?.attempt)).toBe(1);
  expect(await continueAttempt({ ...info, ...seen, carrier: sent }, () => getTaskContext()?.taskId)).toBe(seen.taskId);
});

function addTask(tasks: TaskManager, options: never): Promise<string> {
  return tasks.addTask(tasks.task("task", nothing), [], options);
}

function addToScope(tasks: TaskManager, options: never): Promise<string> {
  return tasks.scope().addTask(tasks.task("task", nothing), [], options);
}

async function thrownBy(run: () => unknown): Promise<unknown> {
  try {
    return await run();
  } catch (error) {
    return error;
  }
}

test("what BullMQ's withBackend returns may be given to bullmqEngine as it is", () => {
  const classes = withBackend(createPostgresBackend);
  expect(Object.keys(classes)).toContain("QueueEvents");
  expect(() =>
    bullmqEngine({ ...classes, connection: { connectionString: "postgres://127.0.0.1:1/none" } }),
  ).not.toThrow();
});
