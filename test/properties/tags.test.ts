import fc from "fast-check";
import {
  type Carrier,
  enqueueTask,
  getTaskContext,
  isTaskConfigError,
  runAttempt,
  type TaskBaggage,
  TaskManager,
  type TaskRelation,
} from "otel-taskflow";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { createTasks } from "../support/tasks.js";
import { collectDiag, startTelemetry, stopTelemetry, useContextManager, usePropagator } from "../support/telemetry.js";
import { illegalTags, key, looseValue, type Tags, tags } from "./arbitraries.js";

const RUNS = 60;

const worlds: Record<string, () => void> = {
  "with an SDK and propagators": () => void startTelemetry(),
  "with an SDK and no propagator": () => void startTelemetry({ propagator: false }),
  "with an SDK and no context manager": () => void startTelemetry({ contextManager: false }),
  "with propagators and a context manager only": () => {
    onTestFinished(stopTelemetry);
    useContextManager();
    usePropagator();
  },
  "without any OpenTelemetry": () => {},
};

const option = (): fc.Arbitrary<TaskBaggage> => fc.constantFrom<TaskBaggage[]>(true, false, [], ["plan"]);
const relation = (): fc.Arbitrary<TaskRelation> => fc.constantFrom<TaskRelation[]>("parent", "link", "none");

/** Own entries, the one named __proto__ included, which toEqual would pass over. */
function entries(of: object | undefined): [string, unknown][] {
  return Object.entries(of ?? { nothing: true });
}

/** A tag on a span: its first 256 UTF-16 code units, or one less where that would be half a character. */
function shown(value: string): string {
  const first = value.slice(0, 256);
  return value.length > 256 && !first.isWellFormed() ? first.slice(0, -1) : first;
}

describe.each(Object.entries(worlds))("%s, any legal tags", (_, enter) => {
  test("reach the task they were given to addTask for", async () => {
    enter();
    const tasks = createTasks();
    const seen = new Map<string | undefined, Tags | undefined>();
    const task = tasks.task("job", async () => {
      await Promise.resolve();
      seen.set(getTaskContext()?.taskId, getTaskContext()?.tags);
    });
    await fc.assert(
      fc.asyncProperty(fc.array(tags(), { maxLength: 4 }), async (given) => {
        const ids = await Promise.all(given.map((one) => tasks.addTask(task, [], { tags: one })));
        await tasks.idle();
        expect(ids.map((id) => entries(seen.get(id)))).toEqual(given.map(entries));
      }),
      { numRuns: RUNS },
    );
  });

  test("survive enqueueTask, JSON and runAttempt, whatever may travel as baggage", async () => {
    enter();
    await fc.assert(
      fc.asyncProperty(tags(), option(), relation(), async (given, baggage, how) => {
        const task = { funcName: "job", tags: given, baggage, relation: how };
        const wire = await enqueueTask(task, (carrier) => JSON.stringify(carrier));
        const carrier = JSON.parse(wire) as Carrier;
        const seen = await runAttempt({ funcName: "job", carrier, baggage }, async () => getTaskContext()?.tags);
        expect(entries(seen)).toEqual(entries(given));
      }),
      { numRuns: RUNS },
    );
  });
});

describe("any legal tags", () => {
  test("are on the enqueue span and the attempt span", async () => {
    const telemetry = startTelemetry();
    await fc.assert(
      fc.asyncProperty(tags(), async (given) => {
        const carrier = await enqueueTask({ funcName: "job", tags: given }, (wire) => wire);
        await runAttempt({ funcName: "job", carrier }, () => {});
        const expected = Object.entries(given).map(([name, value]) => [`task.tag.${name}`, shown(value)]);
        for (const span of telemetry.spans().slice(-2)) {
          const found = Object.entries(span.attributes).filter(([key]) => key.startsWith("task.tag."));
          expect(found).toEqual(expected);
        }
      }),
      { numRuns: RUNS },
    );
  });

  test("survive beside a name and an id of any length, unless those are refused at once", async () => {
    const text = fc.oneof(
      fc.string({ minLength: 1 }),
      fc.constantFrom("x".repeat(10_000), "é".repeat(20_000), "\u0001".repeat(3_000)),
    );
    await fc.assert(
      fc.asyncProperty(tags(), text, text, async (given, funcName, taskId) => {
        const wire = await enqueueTask({ funcName, taskId, tags: given }, (carrier) => carrier).catch(
          isTaskConfigError,
        );
        if (wire === true) return;
        const run = runAttempt({ funcName, carrier: wire as Carrier }, () => getTaskContext());
        const { taskId: seenId, tags: seen } = (await run) ?? {};
        expect([seenId, entries(seen)]).toEqual([taskId, entries(given)]);
      }),
      { numRuns: RUNS },
    );
  });

  test("are frozen, and copied when they are given", async () => {
    const tasks = createTasks();
    const seen: unknown[] = [];
    const task = tasks.task("job", () => seen.push(getTaskContext()?.tags));
    await fc.assert(
      fc.asyncProperty(tags(), async (given) => {
        const before = Object.entries(given);
        const added = tasks.addTask(task, [], { tags: given });
        for (const key of Object.keys(given)) Reflect.deleteProperty(given, key);
        await added;
        await tasks.idle();
        expect(Object.isFrozen(seen.at(-1))).toBe(true);
        expect(entries(seen.at(-1) as Tags)).toEqual(before);
      }),
      { numRuns: RUNS },
    );
  });
});

describe("at the limits", () => {
  const x = (length: number): string => "x".repeat(length);
  const numbered = (count: number): Tags => Object.fromEntries(Array.from({ length: count }, (_, i) => [`t${i}`, ""]));

  test.each<[string, Tags]>([
    ["a key of 64 characters", { [x(64)]: "" }],
    ["a value of 1,024 characters", { plan: x(1_024) }],
    [
      "16 tags of 1,024 characters that JSON escapes",
      Object.fromEntries(Object.keys(numbered(16)).map((k) => [k, "\u0001".repeat(1_024)])),
    ],
  ])("%s is legal", async (_, given) => {
    const carrier = await enqueueTask({ funcName: "job", tags: given }, (wire) => wire);
    const seen = await runAttempt({ funcName: "job", carrier }, () => getTaskContext()?.tags);
    expect(entries(seen)).toEqual(entries(given));
  });

  test.each<[string, Tags]>([
    ["a key of 65 characters", { [x(65)]: "" }],
    ["a key of two lines", { "plan\nplan": "" }],
    ["a key with a line's end", { "plan\n": "" }],
    ["17 tags", numbered(17)],
  ])("%s is not", async (_, given) => {
    const refused = await enqueueTask({ funcName: "job", tags: given }, () => {}).catch(isTaskConfigError);
    expect(refused).toBe(true);
  });
});

describe("a label's value never stops a task", () => {
  test("whatever it is, the task sees what is left of it", async () => {
    const tasks = createTasks();
    const seen: (Tags | undefined)[] = [];
    const task = tasks.task("job", () => void seen.push(getTaskContext()?.tags));
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.tuple(key(), looseValue()), { maxLength: 12, selector: ([name]) => name }),
        async (given) => {
          const labels = Object.fromEntries(given.map(([name, [value]]) => [name, value]));
          await tasks.addTask(task, [], { tags: { ...labels, plan: undefined } });
          await tasks.idle();
          const expected = given.flatMap(([name, [, text]]) => (text === undefined ? [] : [[name, text]]));
          expect(entries(seen.at(-1))).toEqual(entries(Object.fromEntries(expected)));
        },
      ),
      { numRuns: RUNS },
    );
  });

  test("each cut is told once", async () => {
    const told = collectDiag();
    const wire = await enqueueTask({ funcName: "job", tags: { note: "x".repeat(2_000), plan: "pro" } }, (one) => one);
    await runAttempt({ funcName: "job", carrier: wire }, () => {});
    expect(told.filter((line) => line.includes("note"))).toHaveLength(1);
    expect(told.filter((line) => line.includes("xxx") || line.includes("plan"))).toEqual([]);
  });

  test("another library's pollution of Object.prototype is no tag", async () => {
    const telemetry = startTelemetry();
    Object.assign(Object.prototype, { polluted: "enterprise" });
    onTestFinished(() => void Reflect.deleteProperty(Object.prototype, "polluted"));
    const carrier = await enqueueTask({ funcName: "job", tags: { plan: "pro" } }, (one) => one);
    const seen = await runAttempt({ funcName: "job", carrier }, () => getTaskContext()?.tags);
    expect(entries(seen)).toEqual([["plan", "pro"]]);
    for (const span of telemetry.spans()) expect(span.attributes).not.toHaveProperty(["task.tag.polluted"]);
  });
});

describe("illegal tags", () => {
  test("are refused by addTask with a config error that names the culprit, and nothing is enqueued", async () => {
    const fn = vi.fn();
    const tasks = createTasks();
    const task = tasks.task("job", fn);
    await fc.assert(
      fc.asyncProperty(illegalTags(), async ({ make, names }) => {
        const error = await tasks.addTask(task, [], { tags: make() as Tags }).then(String, (refusal: Error) => refusal);
        expect(isTaskConfigError(error)).toBe(true);
        expect((error as Error).message).toContain(names);
      }),
      { numRuns: 200 },
    );
    await tasks.idle();
    expect(fn).not.toHaveBeenCalled();
  });

  test("are refused by enqueueTask, and send is not called", async () => {
    const telemetry = startTelemetry();
    const send = vi.fn();
    await fc.assert(
      fc.asyncProperty(illegalTags(), async ({ make, names }) => {
        const error = await enqueueTask({ funcName: "job", tags: make() as Tags }, send).catch(
          (refusal: Error) => refusal,
        );
        expect(isTaskConfigError(error)).toBe(true);
        expect(error.message).toContain(names);
      }),
      { numRuns: 100 },
    );
    expect(send).not.toHaveBeenCalled();
    expect(telemetry.spans()).toEqual([]);
  });

  test("are refused by runAttempt, and its function is not called", async () => {
    const fn = vi.fn();
    await fc.assert(
      fc.asyncProperty(illegalTags(), async ({ make }) => {
        const run = runAttempt({ funcName: "job", tags: make() as Tags }, fn);
        expect(await run.catch(isTaskConfigError)).toBe(true);
      }),
      { numRuns: 100 },
    );
    expect(fn).not.toHaveBeenCalled();
  });

  test("inside a task leave the task as it is", async () => {
    await using tasks = new TaskManager();
    const task = tasks.task("job", () => {});
    const error = new Error("the task's own");
    const run = runAttempt({ funcName: "parent", tags: { plan: "pro" } }, async () => {
      const refused = await tasks.addTask(task, [], { tags: { "bad key": "x" } }).catch(isTaskConfigError);
      throw Object.assign(error, { refused, tags: getTaskContext()?.tags });
    });
    await expect(run).rejects.toBe(error);
    expect(error).toMatchObject({ refused: true, tags: { plan: "pro" } });
  });
});
