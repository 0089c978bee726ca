import { getEventListeners } from "node:events";
import { type Carrier, getTaskContext, isTaskCancelledError, NonRetryableError, type TaskContext } from "otel-taskflow";
import { addJob, type GraphileTaskHelpers, withTask } from "otel-taskflow/graphile-worker";
import { describe, expect, test, vi } from "vitest";
import { deferred } from "../support/tasks.js";
import { collectDiag, recordSpans, startTelemetry } from "../support/telemetry.js";

// The core's part in an adapter, without a server: these tests play graphile-worker.

type Job = GraphileTaskHelpers["job"];

/** What graphile-worker hands to a task of a job with this many runs. */
function helpersOf(job: Partial<Job> = {}, others: Partial<GraphileTaskHelpers> = {}): GraphileTaskHelpers {
  const nothing = { key: null, flags: null, last_error: null, locked_by: "worker", run_at: new Date() };
  const given = { id: "1", task_identifier: "send", payload: {}, attempts: 1, max_attempts: 3, ...nothing, ...job };
  return { job: given as Job, query: async () => ({ rows: [] }), ...others };
}

const fail = (): Promise<never> => Promise.reject(new RangeError("no"));
const quietly = (work: Promise<unknown>): Promise<void> => work.then(() => {}).catch(() => {});

describe("a worker that stops", () => {
  test("aborts the task's signal with its own reason, and the task ends as it likes", async () => {
    const telemetry = startTelemetry();
    const stop = new AbortController();
    const seen: (TaskContext | undefined)[] = [];
    const begun = deferred();
    const send = withTask(async () => {
      const task = getTaskContext();
      seen.push(task);
      begun.resolve();
      await new Promise((resolve) => task?.signal.addEventListener("abort", resolve));
      return "saved";
    });
    const sent = send({}, helpersOf({}, { abortSignal: stop.signal }));
    await begun.promise;
    stop.abort("the worker's reason");
    expect(await sent).toBe("saved");
    const reason = seen[0]?.signal.reason;
    expect([isTaskCancelledError(reason), reason.cause]).toEqual([true, "the worker's reason"]);
    expect(telemetry.span("process send").attributes["task.outcome"]).toBe("success");
  });

  test("is followed no longer than the task runs", async () => {
    const { signal } = new AbortController();
    const followers: number[] = [];
    const count = (): number => followers.push(getEventListeners(signal, "abort").length);
    await withTask(count)({}, helpersOf({}, { abortSignal: signal }));
    await quietly(withTask(fail)({}, helpersOf({}, { abortSignal: signal })));
    count();
    expect(followers).toEqual([1, 0]);
  });
});

describe("a job that its library will not run again", () => {
  const lost = { key: "a-key" };
  const outcome = async (query: GraphileTaskHelpers["query"], task = fail): Promise<unknown> => {
    const { span } = startTelemetry();
    await quietly(withTask(task)({}, helpersOf(lost, { query })));
    return span("process send").attributes["task.outcome"];
  };

  test("has failed", async () => {
    expect(await outcome(async () => ({ rows: [{}] }))).toBe("failure");
  });

  test("goes by the attempts that are left where the library does not say so", async () => {
    expect(await outcome(async () => ({ rows: [] }))).toBe("retry");
  });

  test("goes by the attempts that are left where the library cannot be asked, and diag says so", async () => {
    const diag = collectDiag();
    expect(await outcome(() => Promise.reject(new Error("no connection")))).toBe("retry");
    expect(diag.some((line) => line.includes("no connection"))).toBe(true);
  });

  test("is not asked about where the task succeeded", async () => {
    const query = vi.fn(async () => ({ rows: [] }));
    expect(await outcome(query, (async () => {}) as typeof fail)).toBe("success");
    expect(query).not.toHaveBeenCalled();
  });
});

describe("the next attempt of a job", () => {
  const linked = async (between: number): Promise<number | undefined> => {
    const telemetry = startTelemetry();
    // no Error, whose stack takes long to read in tests
    const send = withTask(() => Promise.reject("no"));
    await quietly(send({}, helpersOf({ id: "first" })));
    for (let n = 0; n < between; n += 1) await quietly(send({}, helpersOf({ id: `${n}` })));
    await quietly(send({}, helpersOf({ id: "first", attempts: 2 })));
    return telemetry.named("process send").at(-1)?.links.length;
  };

  test.each([0, 999])("links to the one before, where %d other jobs failed since", async (others) => {
    expect(await linked(others)).toBe(1);
  });

  test("has no link where 2,000 other jobs failed since: so many are not kept", async () => {
    expect(await linked(2_000)).toBe(0);
  });
});

describe("what reaches a library that stores it", () => {
  const caught = async (thrown: unknown): Promise<unknown> =>
    await withTask(() => Promise.reject(thrown))({}, helpersOf()).then(
      () => "nothing",
      (error: unknown) => error,
    );

  test("is the very error, where its text can be stored", async () => {
    const error = new RangeError("no");
    expect(await caught(error)).toBe(error);
  });

  test("is an error of the same class that says the same, where its text cannot", async () => {
    const error = new RangeError("no\0pe");
    const told = await caught(error);
    expect(told).toBeInstanceOf(RangeError);
    expect(told).toMatchObject({ name: "RangeError", message: "no\uFFFDpe", cause: error });
    const nameless = Object.assign(new Error(""), { name: "Odd", stack: "\0" });
    expect(await caught(nameless)).toMatchObject({ name: "Odd", message: "Odd", cause: nameless });
  });

  test("is an error with the value for its cause, where no error was thrown", async () => {
    expect(await caught("")).toMatchObject({ message: 'the task threw ""', cause: "" });
    expect(await caught(0)).toMatchObject({ message: "the task threw 0", cause: 0 });
  });

  test("is a NonRetryableError as it is, and the job fails", async () => {
    const error = new NonRetryableError("no such mailbox");
    const telemetry = startTelemetry();
    expect(await caught(error)).toBe(error);
    expect(telemetry.span("process send").attributes["task.outcome"]).toBe("failure");
  });
});

test("a producer's options are this library's own part and the other's own part", async () => {
  const { provider, span } = recordSpans();
  const given: unknown[] = [];
  const utils = { addJob: async (...args: unknown[]) => ({ id: String(given.push(...args)) }) };
  const own = { tags: { plan: "pro" }, relation: "link", baggage: false, tracerProvider: provider } as const;
  await addJob(utils, "send", { to: "ada" }, { ...own, maxAttempts: 5, queueName: "mail" });
  const [name, payload, spec] = given as [string, unknown, { flags: string[] }];
  expect([name, payload]).toEqual(["send", { to: "ada" }]);
  expect(spec).toEqual({ maxAttempts: 5, queueName: "mail", flags: [expect.any(String)] });
  const carrier: Carrier = JSON.parse(spec.flags[0]?.slice(spec.flags[0].indexOf("{")) ?? "");
  expect(JSON.parse(carrier["otel-taskflow"] ?? "")).toMatchObject({ tags: own.tags, rel: "link", max: 5 });
  expect(span("enqueue send").attributes).toMatchObject({ "task.tag.plan": "pro", "task.id": "3" });
  await provider.shutdown();
});
