import {
  type Baggage,
  type Context,
  context,
  propagation,
  type Span,
  type TextMapPropagator,
  type TextMapSetter,
  trace,
} from "@opentelemetry/api";
import { type Carrier, enqueueTask, getTaskContext, runAttempt, type TaskRelation } from "otel-taskflow";
import { describe, expect, onTestFinished, test } from "vitest";
import { createTasks } from "../support/tasks.js";
import { startTelemetry, stopTelemetry, useContextManager } from "../support/telemetry.js";
import { explode, idleSoon, revoked, untouchable, within } from "./fixtures.js";

const job = { funcName: "job", tags: { plan: "pro" } };

function usePropagation(parts: Partial<TextMapPropagator>): void {
  startTelemetry({ propagator: false });
  propagation.setGlobalPropagator({ inject: () => {}, extract: (base) => base, fields: () => [], ...parts });
}

/** What crosses the wire, and back again. */
async function carried(): Promise<unknown> {
  const wire = await enqueueTask(job, (carrier) => JSON.stringify(carrier));
  return runAttempt({ funcName: "job", carrier: JSON.parse(wire) }, () => getTaskContext()?.tags);
}

describe("a propagator whose inject", () => {
  type Inject = (active: Context, carrier: Carrier, setter: TextMapSetter) => void;
  const cycle: unknown[] = [];
  cycle.push(cycle);
  const writes = (key: string, value: unknown): Inject => {
    return (_active, carrier, setter) => setter.set(carrier, key, value as string);
  };
  const injects: Record<string, Inject> = {
    throws: explode,
    "throws half-way": (_active, carrier, setter) => {
      setter.set(carrier, "traceparent", "half");
      explode();
    },
    "writes a BigInt": writes("x", 1n),
    "writes a cycle": writes("x", cycle),
    "writes a function": writes("toJSON", explode),
    "writes an object that throws": writes("x", untouchable()),
    "writes a prototype": writes("__proto__", { toJSON: explode }),
    "writes under this library's own key": writes("otel-taskflow", "{"),
    "freezes the carrier": (_active, carrier) => Object.freeze(carrier),
  };

  test.each(Object.entries(injects))("%s costs no task its tags", async (_, inject) => {
    usePropagation({ inject });
    expect(await carried()).toEqual({ plan: "pro" });
  });

  test.each(Object.entries(injects))("%s leaves strings only in the carrier", async (_, inject) => {
    usePropagation({ inject });
    const carrier = await enqueueTask(job, (given) => given);
    expect(Object.values(carrier).every((value) => typeof value === "string")).toBe(true);
  });

  test.each(Object.entries(injects))("%s keeps no task from running", async (_, inject) => {
    usePropagation({ inject });
    const tasks = createTasks();
    const seen: unknown[] = [];
    await tasks.addTask(
      tasks.task("job", () => seen.push(getTaskContext()?.tags)),
      [],
      { tags: job.tags },
    );
    await idleSoon(tasks);
    expect(seen).toEqual([{ plan: "pro" }]);
  });
});

describe("a propagator whose extract", () => {
  const extracts: Record<string, () => unknown> = {
    throws: explode,
    "returns nothing": () => undefined,
    "returns null": () => null,
    "returns text": () => "context",
    "returns an empty object": () => ({}),
    "returns an object that throws": () => untouchable(),
    "returns a promise": () => Promise.resolve(context.active()),
  };

  test.each(Object.entries(extracts))("%s lets result and tags through", async (_, extract) => {
    usePropagation({ extract: extract as () => Context });
    expect(await carried()).toEqual({ plan: "pro" });
  });

  test.each(Object.entries(extracts))("%s lets an error through", async (_, extract) => {
    usePropagation({ extract: extract as () => Context });
    const error = new Error("the task's own");
    const carrier = { traceparent: "x", baggage: "a=b" };
    await expect(runAttempt({ funcName: "job", carrier }, () => Promise.reject(error))).rejects.toBe(error);
  });
});

describe.each<TaskRelation>(["parent", "link", "none"])("with relation %s, where the context holds", (relation) => {
  const baggage = (parts: object): Baggage => ({ ...propagation.createBaggage(), ...parts }) as Baggage;
  const entries = (list: unknown): ((active: Context) => Context) => {
    return (active) => propagation.setBaggage(active, baggage({ getAllEntries: () => list }));
  };
  const span = (value: unknown) => (active: Context) => trace.setSpan(active, value as Span);
  const contexts: Record<string, (active: Context) => Context> = {
    "baggage that throws on every call": (active) => propagation.setBaggage(active, untouchable() as Baggage),
    "baggage that is no baggage": (active) => propagation.setBaggage(active, "a=b" as unknown as Baggage),
    "baggage without entries": entries(undefined),
    "baggage with entries that are no pairs": entries([null, 1, "task.tag.plan"]),
    "baggage with keys that are no text": entries([
      [undefined, { value: "x" }],
      [Symbol("key"), { value: "x" }],
    ]),
    "baggage that cannot be changed": (active) =>
      propagation.setBaggage(
        active,
        baggage({ getAllEntries: () => [["task.tag.plan", { value: "x" }]], setEntry: explode, removeEntry: explode }),
      ),
    "a span that throws on every call": span(untouchable()),
    "a span that is dead": span(revoked()),
    "a span that is no span": span({ spanContext: "none" }),
    "a span without a span context": span({ spanContext: () => undefined, isRecording: () => true }),
  };

  test.each(Object.entries(contexts))("%s: a task is enqueued and runs with its tags", async (_, change) => {
    startTelemetry();
    const tasks = createTasks({ relation });
    const seen: unknown[] = [];
    const task = tasks.task("job", () => seen.push(getTaskContext()?.tags));
    await within(change, () => tasks.addTask(task, [], { tags: job.tags }));
    await idleSoon(tasks);
    expect(seen).toEqual([{ plan: "pro" }]);
  });

  test.each(Object.entries(contexts))("%s: an attempt's result and error come through", async (_, change) => {
    startTelemetry();
    const error = new Error("the task's own");
    const runs = within(change, () => [
      runAttempt({ ...job, relation }, () => getTaskContext()?.tags),
      runAttempt({ ...job, relation }, () => Promise.reject(error)),
    ]);
    expect(await Promise.allSettled(runs)).toEqual([
      { status: "fulfilled", value: { plan: "pro" } },
      { status: "rejected", reason: error },
    ]);
  });

  test.each(Object.entries(contexts))("%s: a carrier is handed over, without an SDK too", async (_, change) => {
    onTestFinished(stopTelemetry);
    useContextManager();
    const carrier = await within(change, () => enqueueTask({ ...job, relation }, (given) => given));
    const seen = within(change, () => runAttempt({ funcName: "job", carrier }, () => getTaskContext()?.tags));
    expect(await seen).toEqual({ plan: "pro" });
  });
});
