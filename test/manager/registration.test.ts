import {
  getTaskContext,
  isTaskConfigError,
  memoryEngine,
  runAttempt,
  TaskConfigError,
  TaskManager,
  type TaskOptions,
  type TaskRelation,
} from "otel-taskflow";
import { describe, expect, expectTypeOf, onTestFinished, test, vi } from "vitest";
import { createTasks } from "../support/tasks.js";
import { collectDiag, startTelemetry } from "../support/telemetry.js";

describe("task()", () => {
  test("returns the very function, so that a direct call stays a plain call", () => {
    const add = (a: number, b: number): number => a + b;
    expect(createTasks().task("add", add)).toBe(add);
    expect(add(1, 2)).toBe(3);
  });

  test("takes the function's own name", async () => {
    const tasks = createTasks();
    const names: string[] = [];
    createTasks({ onSuccess: ({ context }) => void names.push(context.funcName) });
    tasks.task({}, function sendEmail() {});
    expect(() => tasks.task("sendEmail", () => {})).toThrow(/"sendEmail" is taken/);
  });

  test("asks for a name where the function has none, and shows the line", () => {
    expect(() => createTasks().task({ retries: 1 }, () => {})).toThrow(/task\(\{ name: "send-email" \}, fn\)/);
  });

  test("refuses a function registered before", () => {
    const tasks = createTasks();
    const fn = (): void => {};
    tasks.task("one", fn);
    expect(() => tasks.task("two", fn)).toThrow(/registered already, as "one"/);
  });

  describe("of a name that is registered", () => {
    const evaluate = (tasks: TaskManager, version: string, ran: string[]): (() => void) =>
      tasks.task("send", () => void ran.push(version));

    test("replaces the task where a module was evaluated again, also for who holds the old function", async () => {
      const diag = collectDiag();
      const tasks = createTasks();
      const ran: string[] = [];
      const before = evaluate(tasks, "before", ran);
      const after = evaluate(tasks, "after", ran);
      await tasks.addTask(before);
      await tasks.addTask(after);
      await tasks.idle();
      expect(ran).toEqual(["after", "after"]);
      expect(tasks.task("send", after)).toBe(after);
      expect(diag).toHaveLength(2);
    });

    test("has the new options for who holds the old function, and leaves other tasks alone", async () => {
      const telemetry = startTelemetry();
      const tasks = createTasks();
      const register = (relation: TaskRelation): (() => void) => tasks.task({ name: "send", relation }, () => {});
      const other = tasks.task("other", () => {});
      const before = register("parent");
      register("link");
      await tasks.addTask(before);
      await tasks.addTask(other);
      await tasks.idle();
      expect(telemetry.span("process send").links).toHaveLength(1);
      expect(telemetry.span("process other").links).toHaveLength(0);
    });

    test("accepts the very same function, also a bound one", () => {
      const tasks = createTasks();
      const bound = (() => {}).bind(undefined);
      expect(tasks.task("send", bound)).toBe(bound);
      expect(tasks.task("send", bound)).toBe(bound);
    });

    test("refuses what has another source, a bound function, and all in production, and says what to do", () => {
      const tasks = createTasks();
      evaluate(tasks, "before", []);
      expect(() => tasks.task("send", () => "another source")).toThrow(/"send" is taken.*hot reload/);
      const method = function deliver(this: unknown): void {};
      tasks.task("bound", method.bind("one"));
      expect(() => tasks.task("bound", method.bind("two"))).toThrow(/"bound" is taken/);
      vi.stubEnv("NODE_ENV", "production");
      onTestFinished(() => void vi.unstubAllEnvs());
      expect(() => evaluate(tasks, "after", [])).toThrow(/"send" is taken.*evaluated once/);
    });
  });

  test("leaves nothing behind when it refuses", () => {
    const tasks = createTasks();
    const fn = (): void => {};
    expect(() => tasks.task({ name: "one", retries: -1 }, fn)).toThrow(TaskConfigError);
    expect(tasks.task("one", fn)).toBe(fn);
  });

  test.each<[TaskOptions, RegExp]>([
    [{ retries: -1 }, /retries: expected an integer from 0, received -1/],
    [{ retries: 1.5 }, /retries: .*1.5/],
    [{ retries: Number.POSITIVE_INFINITY }, /retries: .*Infinity/],
    [{ delay: -1 }, /delay: expected a number from 0, received -1/],
    [{ delay: Number.NaN }, /delay: .*NaN/],
    [{ backoff: 0 }, /backoff: expected a number from 1, received 0/],
    [{ maxDelay: -5 }, /maxDelay: .*-5/],
    [{ jitter: 1.1 }, /jitter: expected a number from 0 to 1, received 1.1/],
    [{ timeout: 0 }, /timeout: expected a number from 1 to 2147483647, received 0/],
    [{ timeout: 2 ** 31 }, /timeout: .*2147483648/],
    [{ name: "" }, /name: expected a well-formed string of 1 to 512 characters/],
    [JSON.parse('{"delay":"1s"}'), /delay: .*a string of 2 characters/],
    [JSON.parse('{"retryIf":true}'), /retryIf: expected a function, received true/],
    [
      JSON.parse('{"relation":"child"}'),
      /relation: expected "parent", "link" or "none", received a string of 5 characters/,
    ],
  ])("refuses %o", (options, message) => {
    const register = (): unknown => createTasks().task({ name: "job", ...options }, () => {});
    expect(register).toThrow(message);
    expect(register).toThrow(expect.objectContaining({ name: "TaskConfigError", code: "TASK_CONFIG" }));
  });
});

describe("addTask()", () => {
  test("refuses a function that is no task", async () => {
    const adding = createTasks().addTask(function stranger() {});
    await expect(adding).rejects.toThrow(/function stranger is no task of this manager/);
    await expect(adding).rejects.toSatisfy(isTaskConfigError);
    await expect(createTasks().addTask(() => {})).rejects.toThrow(/function \(anonymous\) is no task/);
    await expect(createTasks().addTask(7 as unknown as () => void)).rejects.toThrow(/^addTask\(\): 7 is no task/);
  });

  test("refuses arguments that are no array, and bad options", async () => {
    const tasks = createTasks();
    const job = tasks.task("job", (_n: number) => {});
    await expect(tasks.addTask(job, JSON.parse("7"))).rejects.toThrow(/arguments of job as an array, received 7/);
    await expect(tasks.addTask(job, [1], { delay: -1 })).rejects.toThrow(/delay: .*-1/);
    await expect(tasks.addTask(job, [1], { taskId: "" })).rejects.toThrow(/taskId/);
    await expect(tasks.addTask(job, [1], { tags: { "bad key": "x" } })).rejects.toThrow(/"bad key"/);
  });

  test("type-checks the arguments against the function", () => {
    const tasks = createTasks();
    const none = tasks.task("none", () => {});
    const two = tasks.task("two", (_name: string, _count?: number) => {});
    expectTypeOf(tasks.addTask<typeof none>).toBeCallableWith(none);
    expectTypeOf(tasks.addTask<typeof two>).toBeCallableWith(two, ["a", 1]);
    expectTypeOf(tasks.addTask<typeof two>).toBeCallableWith(two, ["a"], { delay: 5 });
    // @ts-expect-error: an argument is required
    void tasks.addTask(two).catch(() => {});
    // @ts-expect-error: the argument has another type
    void tasks.addTask(two, [1]).catch(() => {});
  });
});

describe("new TaskManager()", () => {
  test.each([
    [null, /new TaskManager\(\): its options: expected an object, received null/],
    [{ relation: "child" }, /relation/],
    [
      { baggage: "all" },
      /baggage: expected true, false or an array of at most 1000 tag keys, received a string of 3 characters/,
    ],
    [{ logs: "events" }, /logs: expected "event", "record" or "both", received a string of 6 characters/],
    [{ onLog: 1 }, /onLog: expected a function/],
    [{ onRetry: "log" }, /onRetry: expected a function, received a string of 3 characters/],
    [{ engine: {} }, /engine: expected what memoryEngine\(\)/],
  ])("refuses %o", (options, message) => {
    expect(() => new TaskManager(options as object)).toThrow(message);
  });

  test("says at once that it is not for Cloudflare Workers, where runAttempt() works", async () => {
    vi.stubGlobal("navigator", { userAgent: "Cloudflare-Workers" });
    onTestFinished(() => void vi.unstubAllGlobals());
    expect(() => new TaskManager()).toThrow(/not for Cloudflare Workers.*runAttempt\(\)/);
    expect(await runAttempt({ funcName: "task" }, () => getTaskContext()?.funcName)).toBe("task");
  });

  test("is for every other runtime, whatever its navigator says", () => {
    vi.stubGlobal("navigator", { userAgent: "Node.js/24" });
    onTestFinished(() => void vi.unstubAllGlobals());
    expect(() => new TaskManager()).not.toThrow();
  });

  test("refuses an engine that belongs to another manager", () => {
    const engine = memoryEngine();
    createTasks({ engine });
    expect(() => new TaskManager({ engine })).toThrow(/belongs to another TaskManager/);
  });

  test.each([
    [{ concurrency: 0 }, /concurrency: expected an integer from 1, received 0/],
    [{ maxQueued: 0 }, /maxQueued: expected an integer from 1, received 0/],
  ])("memoryEngine refuses %o", (options, message) => {
    expect(() => memoryEngine(options)).toThrow(message);
  });
});
