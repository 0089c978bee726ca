import { AsyncLocalStorage } from "node:async_hooks";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { context, createContextKey, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { suppressTracing } from "@opentelemetry/core";
import { AlwaysOffSampler } from "@opentelemetry/sdk-trace";
import { getTaskContext, runAttempt, type TaskContext, taskLog } from "otel-taskflow";
import { describe, expect, onTestFinished, test } from "vitest";
import { createTasks, deferred } from "../support/tasks.js";
import { startTelemetry, stopTelemetry } from "../support/telemetry.js";
import { worlds } from "../support/worlds.js";

const idHere = (): string | undefined => getTaskContext()?.taskId;
const deep = (levels: number): string | undefined => (levels === 0 ? idHere() : deep(levels - 1));

// Each way code can be called later; all must stay inside the task that asked for it.
const boundaries: Record<string, () => Promise<string | undefined>> = {
  "a synchronous helper ten calls deep": async () => deep(10),
  "after await": async () => {
    await null;
    return deep(3);
  },
  "Promise.all": async () => (await Promise.all([delay(1).then(idHere), Promise.resolve().then(idHere)]))[0],
  "a timer": () => new Promise((resolve) => setTimeout(() => resolve(idHere()), 1)),
  setImmediate: () => new Promise((resolve) => setImmediate(() => resolve(idHere()))),
  nextTick: () => new Promise((resolve) => process.nextTick(() => resolve(idHere()))),
  "a microtask": () => new Promise((resolve) => queueMicrotask(() => resolve(idHere()))),
  "a stream": async () => {
    let id: string | undefined;
    await pipeline(Readable.from(["a", "b"]), async (source) => {
      for await (const _chunk of source) id = idHere();
    });
    return id;
  },
};

describe.each(worlds)("the task context, $title", ({ create }) => {
  test.each(Object.keys(boundaries))("is visible in %s", async (boundary) => {
    const tasks = create();
    const seen: (string | undefined)[] = [];
    const look = tasks.task("look", async () => {
      seen.push(await boundaries[boundary]?.());
    });
    const ids = await Promise.all([tasks.addTask(look), tasks.addTask(look), tasks.addTask(look)]);
    await tasks.idle();
    expect(seen.toSorted()).toEqual(ids.toSorted());
  });

  test("is gone outside, before and after", async () => {
    const tasks = create();
    const noop = tasks.task("noop", () => {});
    await tasks.addTask(noop);
    expect(getTaskContext()).toBeUndefined();
    await tasks.idle();
    expect(getTaskContext()).toBeUndefined();
  });

  test("does not show what attempt 0 set by enterWith to attempt 1, nor to the enqueuer", async () => {
    const tasks = create();
    const user = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const task = tasks.task({ name: "sets", retries: 2 }, () => {
      seen.push(user.getStore());
      user.enterWith("left over");
      throw new Error("again");
    });
    await user.run("mine", () => tasks.addTask(task));
    await tasks.idle();
    expect(seen).toEqual(["mine", "mine", "mine"]);
    expect(user.getStore()).toBeUndefined();
  });

  test("stays with code that runs on after its attempt has ended", async () => {
    const tasks = create();
    const late = deferred<TaskContext | undefined>();
    const go = deferred();
    const task = tasks.task("late", () => {
      void go.promise.then(() => {
        taskLog("too late, and harmless");
        late.resolve(getTaskContext());
      });
    });
    const id = await tasks.addTask(task);
    await tasks.idle();
    go.resolve();
    expect((await late.promise)?.taskId).toBe(id);
  });

  test("is the caller's when a task function is called directly", async () => {
    const tasks = create();
    const inner = tasks.task("inner", () => getTaskContext()?.funcName);
    const outer = tasks.task("outer", () => inner());
    expect(inner()).toBeUndefined();
    const seen: unknown[] = [];
    const recorder = tasks.task("recorder", () => {
      seen.push(outer());
    });
    await tasks.addTask(recorder);
    await tasks.idle();
    expect(seen).toEqual(["recorder"]);
  });

  test("is the parent's again after a task has enqueued another", async () => {
    const tasks = create();
    const seen: string[] = [];
    const note = (): void => void seen.push(`${getTaskContext()?.funcName} ${JSON.stringify(getTaskContext()?.tags)}`);
    const child = tasks.task("child", note);
    const parent = tasks.task("parent", async () => {
      await tasks.addTask(child, [], { tags: { size: "small" } });
      note();
    });
    await tasks.addTask(parent, [], { tags: { plan: "pro" } });
    await tasks.idle();
    expect(seen).toEqual(['parent {"plan":"pro"}', 'child {"size":"small"}']);
  });
});

describe("the task context with an SDK", () => {
  test("is there when the context manager throws", async () => {
    context.setGlobalContextManager(
      Object.assign(new AsyncLocalStorageContextManager(), {
        with: () => {
          throw new Error("no context today");
        },
      }),
    );
    onTestFinished(stopTelemetry);
    expect(await runAttempt({ funcName: "job" }, () => getTaskContext()?.funcName)).toBe("job");
  });

  test("is left deliberately by context.with(ROOT_CONTEXT)", async () => {
    startTelemetry();
    const seen = await runAttempt({ funcName: "job" }, () => [
      context.with(ROOT_CONTEXT, getTaskContext),
      getTaskContext()?.funcName,
    ]);
    expect(seen).toEqual([undefined, "job"]);
  });

  test("is not taken from an older copy of the package, whose attempts have another shape", () => {
    startTelemetry();
    const older = createContextKey("otel-taskflow.v1.attempt");
    const theirs = ROOT_CONTEXT.setValue(older, { context: { taskId: "theirs" } });
    expect(context.with(theirs, getTaskContext)).toBeUndefined();
  });

  test("is there when the span is not sampled", async () => {
    const telemetry = startTelemetry({ sampler: new AlwaysOffSampler() });
    const seen = await runAttempt({ funcName: "job", attempt: 2 }, () => getTaskContext()?.attempt);
    expect([seen, telemetry.spans()]).toEqual([2, []]);
  });

  test("is there when tracing is suppressed", async () => {
    const telemetry = startTelemetry();
    const suppressed = suppressTracing(context.active());
    const seen = await context.with(suppressed, () => runAttempt({ funcName: "quiet", taskId: "q" }, idHere));
    expect([seen, telemetry.spans()]).toEqual(["q", []]);
  });

  test("is there when an SDK without a context manager records spans", async () => {
    const telemetry = startTelemetry({ contextManager: false });
    const name = await runAttempt({ funcName: "job" }, async () => {
      await delay(1);
      taskLog("here");
      return getTaskContext()?.funcName;
    });
    expect(name).toBe("job");
    expect(telemetry.span("process job").events[0]?.name).toBe("here");
  });

  test("appears with the spans when the SDK starts after the manager", async () => {
    const tasks = createTasks();
    const seen: unknown[] = [];
    const task = tasks.task("early", () => void seen.push(trace.getActiveSpan()?.isRecording()));
    await tasks.addTask(task);
    await tasks.idle();
    const telemetry = startTelemetry();
    await tasks.addTask(task);
    await tasks.idle();
    expect(seen).toEqual([undefined, true]);
    expect(telemetry.spans().map((span) => span.name)).toEqual(["enqueue early", "process early"]);
  });
});

describe("TaskContext", () => {
  test("is frozen, its tags too, and copied from the caller's object", async () => {
    const tasks = createTasks();
    const seen: TaskContext[] = [];
    const task = tasks.task("frozen", () => {
      const ctx = getTaskContext();
      if (ctx) seen.push(ctx);
    });
    const tags: Record<string, string> = { plan: "pro" };
    const adding = tasks.addTask(task, [], { tags });
    tags.plan = "changed";
    await adding;
    await tasks.idle();
    expect(seen.map((ctx) => [Object.isFrozen(ctx), Object.isFrozen(ctx.tags), ctx.tags])).toEqual([
      [true, true, { plan: "pro" }],
    ]);
  });

  test("is one object per attempt, and another for the next", async () => {
    const tasks = createTasks();
    const seen: (TaskContext | undefined)[] = [];
    const task = tasks.task({ name: "twice", retries: 1 }, () => {
      seen.push(getTaskContext(), getTaskContext());
      throw new Error("again");
    });
    await tasks.addTask(task);
    await tasks.idle();
    expect(seen[0]).toBe(seen[1]);
    expect(seen[1]).not.toBe(seen[2]);
    expect(seen.map((ctx) => ctx?.attempt)).toEqual([0, 0, 1, 1]);
  });

  test("has a signal that is the same at every read", async () => {
    const [first, second] = await runAttempt({ funcName: "job" }, () => {
      const ctx = getTaskContext();
      return [ctx?.signal, ctx?.signal];
    });
    expect(first).toBeInstanceOf(AbortSignal);
    expect(first).toBe(second);
  });
});
