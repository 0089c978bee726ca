import * as api from "otel-taskflow";
import { describe, expect, test } from "vitest";

type Guard = (error: unknown) => boolean;

const errors: [name: string, code: string, guard: Guard, error: Error & { code: string }][] = [
  ["TaskConfigError", "TASK_CONFIG", api.isTaskConfigError, new api.TaskConfigError("no")],
  ["TaskManagerClosedError", "TASK_MANAGER_CLOSED", api.isTaskManagerClosedError, new api.TaskManagerClosedError("no")],
  ["TaskQueueFullError", "TASK_QUEUE_FULL", api.isTaskQueueFullError, new api.TaskQueueFullError("no")],
  ["TaskTimeoutError", "TASK_TIMEOUT", api.isTaskTimeoutError, new api.TaskTimeoutError("no")],
  ["TaskCancelledError", "TASK_CANCELLED", api.isTaskCancelledError, new api.TaskCancelledError("no")],
  ["UnknownTaskError", "TASK_UNKNOWN", api.isUnknownTaskError, new api.UnknownTaskError("no")],
  ["NonRetryableError", "TASK_NON_RETRYABLE", api.isNonRetryableError, new api.NonRetryableError("no")],
  ["TaskLostError", "TASK_LOST", api.isTaskLostError, new api.TaskLostError("no")],
  ["TaskStoreError", "TASK_STORE", api.isTaskStoreError, new api.TaskStoreError("no")],
];

describe.each(errors)("a %s", (name, code, guard, error) => {
  test("has its name, its code and its message", () => {
    expect([error.name, error.code, error.message, String(error)]).toEqual([name, code, "no", `${name}: no`]);
    expect(error).toBeInstanceOf(Error);
  });

  test("has no enumerable name or brand, which loggers would print", () => {
    expect(Object.keys(error).filter((key) => key !== "stored")).toEqual(["code"]);
    expect(Object.getOwnPropertySymbols(error).filter((key) => Object.keys(error).includes(String(key)))).toEqual([]);
    expect(Object.getOwnPropertyDescriptor(error, "name")).toMatchObject({ configurable: true, writable: true });
  });

  test("passes its own guard, also as another copy of the package makes it, and no other", () => {
    const copy = { [Symbol.for("otel-taskflow.error")]: code };
    expect([guard(error), guard(copy)]).toEqual([true, true]);
    const others = errors.filter(([other]) => other !== name).map(([, , other]) => other(error));
    expect(others.every((passed) => !passed)).toBe(true);
  });

  test("is told from what is no error of ours, without a throw", () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    for (const value of [undefined, null, code, { code }, new Error("no"), proxy]) expect(guard(value)).toBe(false);
  });
});

test("an error keeps its cause, and one of a closed manager says so by itself", () => {
  const cause = new Error("why");
  expect(new api.TaskConfigError("no", { cause }).cause).toBe(cause);
  expect(new api.TaskManagerClosedError().message).toBe("the task manager is shut down");
});
