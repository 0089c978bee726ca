import { type Baggage, context, propagation } from "@opentelemetry/api";
import { type Carrier, continueAttempt, enqueueTask, runAttempt } from "otel-taskflow";
import { beforeEach, describe, expect, test } from "vitest";
import { createTasks } from "../support/tasks.js";
import { collectDiag, startTelemetry, type TestTelemetry } from "../support/telemetry.js";

let telemetry: TestTelemetry;
beforeEach(() => {
  telemetry = startTelemetry();
});

const own = (entry: object): string => JSON.stringify({ v: 1, id: "a", name: "job", ...entry });
const keysOf = (baggage: Baggage | undefined): string[] => baggage?.getAllEntries().map(([key]) => key) ?? [];
const activeKeys = (): string[] => keysOf(propagation.getActiveBaggage());

describe("the relation", () => {
  test("that the consumer gives wins over the carrier's", async () => {
    const carrier = await enqueueTask({ funcName: "job", relation: "parent" }, (sent) => sent);
    await runAttempt({ carrier, relation: "link" }, () => {});
    const [enqueued, attempt] = [telemetry.span("enqueue job"), telemetry.span("process job")];
    expect(attempt.parentSpanContext).toBeUndefined();
    expect(attempt.links.map((link) => link.context.spanId)).toEqual([enqueued.spanContext().spanId]);
  });

  test("none inherits no baggage, whatever the carrier holds", async () => {
    const carrier = { baggage: "tenant=t1", "otel-taskflow": own({ rel: "none", tags: { plan: "pro" } }) };
    expect(await runAttempt({ carrier }, activeKeys)).toEqual(["task.tag.plan"]);
  });
});

describe("the carrier", () => {
  test("has no tags where the task has none", async () => {
    const tagsOf = async (tags: object): Promise<unknown> => {
      const carrier = await enqueueTask({ funcName: "job", tags: { ...tags } }, (sent) => sent);
      return JSON.parse(carrier["otel-taskflow"] ?? "").tags;
    };
    expect(await tagsOf({})).toBeUndefined();
    expect(await tagsOf({ plan: "pro" })).toEqual({ plan: "pro" });
  });

  test("says nothing to diag where there is none, nor where it is whole", async () => {
    const diag = collectDiag();
    const failing = (carrier?: Carrier): Promise<void> =>
      runAttempt({ funcName: "job", carrier }, () => Promise.reject(new Error("no"))).catch(() => {});
    await failing();
    await failing(await enqueueTask({ funcName: "job" }, (sent) => sent));
    expect(diag).toEqual([]);
  });
});

describe("baggage", () => {
  test("of the task is continued where it is the task's own, and not where somebody else has written it", async () => {
    const entry = own({ tags: { plan: "pro" } });
    const continued = (baggage: string): Promise<string[]> =>
      continueAttempt({ carrier: { baggage, "otel-taskflow": entry } }, activeKeys);
    expect(await continued("task.tag.plan=pro,tenant=t1")).toEqual(["task.tag.plan", "tenant"]);
    expect(await continued("task.tag.plan=enterprise,tenant=t1")).toEqual(["tenant"]);
  });

  test("of others is passed on up to 180 entries, behind the task's own", async () => {
    const entries = Array.from({ length: 200 }, (_, n) => [`key${n}`, { value: "v" }] as const);
    const crowded = propagation.setBaggage(context.active(), propagation.createBaggage(Object.fromEntries(entries)));
    const tasks = createTasks();
    const seen: string[][] = [];
    const task = tasks.task("task", () => void seen.push(activeKeys()));
    await context.with(crowded, () => tasks.addTask(task, [], { tags: { plan: "pro" } }));
    await tasks.idle();
    expect([seen[0]?.[0], seen[0]?.length]).toEqual(["task.tag.plan", 181]);
  });
});
