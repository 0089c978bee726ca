import type { Carrier, EngineHost, Settlement, TaskManagerOptions } from "otel-taskflow";
import { describe, expect, test, vi } from "vitest";
import { type ScriptedEngine, scriptedEngine } from "../support/scripted-engine.js";
import { createTasks, deferred } from "../support/tasks.js";
import { startTelemetry } from "../support/telemetry.js";

const hang = (): Promise<never> => new Promise(() => {});
const fail = (): Promise<never> => Promise.reject(new RangeError("no"));

function hooks(): TaskManagerOptions & { readonly told: string[] } {
  const told: string[] = [];
  const tell = (hook: string) => (): void => void told.push(hook);
  return {
    told,
    onSuccess: tell("success"),
    onRetry: tell("retry"),
    onFailure: tell("failure"),
    onCancel: tell("cancel"),
  };
}

/** An engine that keeps its host, and what it is given to store. */
function keepingEngine(): { engine: ScriptedEngine; host: () => EngineHost; carriers: Carrier[] } {
  const hosts: EngineHost[] = [];
  const carriers: Carrier[] = [];
  const engine = scriptedEngine({
    enqueue: ({ origin }) => carriers.push(hosts[0]?.carrierOf(origin) ?? {}) > 0,
  });
  const open = engine.open.bind(engine);
  engine.open = (host) => {
    hosts.push(host);
    return open(host);
  };
  const host = (): EngineHost => {
    if (hosts[0] === undefined) throw new Error("the engine was not opened");
    return hosts[0];
  };
  return { engine, host, carriers };
}

/** Runs a delivery, and returns the ends that it was to store. */
async function endsOf(engine: ScriptedEngine, name: string, facts = {}): Promise<Settlement[]> {
  const ends: Settlement[] = [];
  await engine.run(name, "x", (end) => void ends.push(end), facts);
  return ends;
}

describe("a delivery", () => {
  test("whose store holds no task fails for good, and its function is not called", async () => {
    const engine = scriptedEngine();
    const fn = vi.fn();
    createTasks({ engine }).task({ name: "task", retries: 5 }, fn);
    const [end] = await endsOf(engine, "task", { args: undefined });
    expect(end).toMatchObject({ outcome: "failure", error: { name: "NonRetryableError" } });
    expect(fn).not.toHaveBeenCalled();
  });

  test("is given back for five seconds where nobody here knows its task", async () => {
    const engine = scriptedEngine();
    createTasks({ engine });
    expect(await endsOf(engine, "unknown")).toEqual([{ outcome: "deferred", delay: 5_000 }]);
  });

  test("that retries is stored with the error, the wait and the attempt's span", async () => {
    const telemetry = startTelemetry();
    const engine = scriptedEngine();
    createTasks({ engine }).task({ name: "task", retries: 1, delay: 700 }, fail);
    const [end] = await endsOf(engine, "task");
    const span = telemetry.span("process task").spanContext();
    expect(end).toEqual({ outcome: "retry", delay: 700, error: new RangeError("no"), span });
    expect(await endsOf(engine, "task", { attempt: 1 })).toEqual([{ outcome: "failure", error: new RangeError("no") }]);
  });

  test("starts in the root context where it has no enqueuer, and links to the worker's own span", async () => {
    const telemetry = startTelemetry();
    const engine = scriptedEngine();
    createTasks({ engine }).task("task", () => {});
    const tracer = telemetry.provider.getTracer("worker");
    await tracer.startActiveSpan("poll", async (poll) => {
      await endsOf(engine, "task");
      poll.end();
    });
    const span = telemetry.span("process task");
    expect(span.parentSpanContext).toBeUndefined();
    expect(span.links.map(({ context, attributes }) => [context.spanId, attributes?.["task.link"]])).toEqual([
      [telemetry.span("poll").spanContext().spanId, "surrounding"],
    ]);
  });
});

test("the relation of a task is its enqueuer's, and the manager's own where the carrier says none", () => {
  const { engine, host } = keepingEngine();
  createTasks({ engine, relation: "none" });
  const received = (carrier?: Carrier): unknown => host().receive({ id: "x", name: "task", carrier }).relation;
  expect(received({ "otel-taskflow": '{"v":1,"id":"x","rel":"link"}' })).toBe("link");
  expect(received()).toBe("none");
});

test("an engine is told which ids were made for their task, so that no other can have them", async () => {
  const fresh: boolean[] = [];
  const engine = scriptedEngine({ enqueue: (message) => fresh.push(message.fresh) > 0 });
  const tasks = createTasks({ engine });
  const task = tasks.task("task", () => {});
  await tasks.addTask(task);
  await tasks.addTask(task, [], { taskId: "mine" });
  expect(fresh).toEqual([true, false]);
});

test("an engine is told the names of all tasks, again when there are more", async () => {
  const work = vi.fn();
  const tasks = createTasks({ engine: scriptedEngine({ work }) });
  tasks.task("one", () => {});
  tasks.task("two", () => {});
  await tasks.work();
  tasks.task("three", () => {});
  expect(work.mock.calls).toEqual([[["one", "two"]], [["one", "two", "three"]]]);
});

test("a run that may have been lost is run again beside other tasks' runs", async () => {
  const engine = scriptedEngine();
  const fn = vi.fn();
  const tasks = createTasks({ engine });
  tasks.task("slow", hang);
  tasks.task("task", fn);
  void engine.run("slow", "other", () => {});
  expect(await endsOf(engine, "task", { redelivered: true })).toEqual([{ outcome: "success" }]);
  expect(fn).toHaveBeenCalledOnce();
});

describe("the number of attempts", () => {
  const attemptsOf = (host: EngineHost, name: string, stored: object): number | undefined =>
    host.receive({ id: "x", name, carrier: undefined, ...stored }).maxAttempts;

  test("is the policy of who runs the task, and that of its producer where it is not registered here", async () => {
    const { engine, host } = keepingEngine();
    createTasks({ engine }).task({ name: "task", retries: 2 }, () => {});
    expect(attemptsOf(host(), "task", { maxAttempts: 9 })).toBe(3);
    expect(attemptsOf(host(), "other", { maxAttempts: 9 })).toBe(9);
    expect(attemptsOf(host(), "other", {})).toBeUndefined();
  });

  test("is what the enqueuer of this one task wished, which travels in the carrier", async () => {
    const { engine, host, carriers } = keepingEngine();
    const tasks = createTasks({ engine });
    const task = tasks.task({ name: "task", retries: 2 }, () => {});
    await tasks.addTask(task, [], { retries: 6 });
    await tasks.addTask(task);
    const [wished, plain] = carriers;
    expect(attemptsOf(host(), "task", { carrier: wished, maxAttempts: 9 })).toBe(7);
    expect(attemptsOf(host(), "task", { carrier: plain, maxAttempts: 9 })).toBe(3);
    expect(attemptsOf(host(), "other", { carrier: plain })).toBe(3);
  });
});

describe("a shutdown with an engine that stores", () => {
  test("gives back what runs without using up its attempt, and tells no hook", async () => {
    const { told, ...options } = hooks();
    const telemetry = startTelemetry();
    const engine = scriptedEngine();
    const tasks = createTasks({ ...options, engine });
    const begun = deferred();
    tasks.task({ name: "task", retries: 1 }, () => {
      begun.resolve();
      return hang();
    });
    const ends = endsOf(engine, "task");
    await begun.promise;
    const report = await tasks.shutdown({ timeout: 0 });
    expect(await ends).toEqual([{ outcome: "deferred", delay: 0 }]);
    expect(report).toEqual({ completed: 0, abandoned: [{ taskId: "x", funcName: "task", state: "active" }] });
    expect(telemetry.span("process task").attributes["task.outcome"]).toBe("deferred");
    expect(told).toEqual([]);
  });

  test("gives back for a second what is delivered while it stops, and starts no work", async () => {
    const stopping = deferred();
    const stopped = deferred<[]>();
    const work = vi.fn();
    const quiesce = (): Promise<[]> => {
      stopping.resolve();
      return stopped.promise;
    };
    const engine = scriptedEngine({ quiesce, work });
    const tasks = createTasks({ engine });
    tasks.task("task", () => {});
    const shutdown = tasks.shutdown();
    await stopping.promise;
    expect(await endsOf(engine, "task")).toEqual([{ outcome: "deferred", delay: 1_000 }]);
    await tasks.work();
    stopped.resolve([]);
    await shutdown;
    expect(work).not.toHaveBeenCalled();
  });

  test("names a retry whose end is not stored yet as delayed", async () => {
    const engine = scriptedEngine();
    const tasks = createTasks({ engine });
    tasks.task({ name: "task", retries: 1 }, fail);
    const storing = deferred();
    void engine.run("task", "x", () => {
      storing.resolve();
      return hang();
    });
    await storing.promise;
    const { abandoned } = await tasks.shutdown({ timeout: 0 });
    expect(abandoned).toEqual([{ taskId: "x", funcName: "task", state: "delayed" }]);
  });

  test.each([false, true])(
    "names a retry whose hook still runs as delayed, unless it is cancelled: %s",
    async (isCancelled) => {
      const engine = scriptedEngine();
      const failed = deferred();
      const onRetry = (): Promise<never> => {
        failed.resolve();
        return hang();
      };
      const tasks = createTasks({ engine, onRetry });
      tasks.task({ name: "task", retries: 1 }, fail);
      void engine.run("task", "x", hang);
      await failed.promise;
      if (isCancelled) void tasks.cancel("x");
      const { abandoned } = await tasks.shutdown({ timeout: 0 });
      expect(abandoned).toEqual(isCancelled ? [] : [{ taskId: "x", funcName: "task", state: "delayed" }]);
    },
  );

  test("asks the store for nothing more once it has given it up", async () => {
    let tries = 0;
    let triesAtClose = -1;
    const close = (): void => {
      triesAtClose = tries;
    };
    const engine = scriptedEngine({ close });
    const tasks = createTasks({ engine });
    tasks.task("task", () => {});
    const over = engine.run("task", "x", () => {
      tries += 1;
      throw new Error("no connection");
    });
    await tasks.shutdown({ timeout: 0 });
    await over;
    expect(tries).toBe(triesAtClose);
  });
});
