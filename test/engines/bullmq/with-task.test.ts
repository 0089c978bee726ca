import { setImmediate as turn } from "node:timers/promises";
import { trace } from "@opentelemetry/api";
import { getTaskContext, isTaskConfigError, NonRetryableError, taskLog } from "otel-taskflow";
import { addJob, withTask } from "otel-taskflow/bullmq";
import { expect, test, vi } from "vitest";
import { startMetrics } from "../../support/metrics.js";
import { breakTelemetry, collectDiag, startTelemetry, type TestTelemetry } from "../../support/telemetry.js";
import { describeVersions, type Job } from "./lab.js";
import { describeRoads } from "./roads.js";

const outcomes = (telemetry: TestTelemetry, name: string): unknown[] =>
  telemetry.named(`process ${name}`).map(({ attributes, status }) => [attributes["task.outcome"], status.code]);

await describeRoads("withTask", (open, bullmq, { addJob, withTask, addElsewhere }) => {
  test("runs a job as an attempt of a task, and returns what the processor does", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const seen: unknown[] = [];
    async function charge(): Promise<{ paid: boolean }> {
      const { taskId, funcName, attempt, maxAttempts, tags } = getTaskContext() ?? {};
      seen.push(taskId, funcName, attempt, maxAttempts, tags);
      taskLog("charged", { amount: 5 });
      return { paid: true };
    }
    lab.work(withTask(charge));
    const { id } = await addJob(lab.queue, "payment", {}, { attempts: 3, tags: { plan: "pro" } });
    expect((await lab.reaches("completed", id)).returnvalue).toEqual({ paid: true });
    expect(seen).toEqual([id, "payment", 0, 3, { plan: "pro" }]);
    const span = telemetry.span("process payment");
    expect(span.attributes).toMatchObject({
      "task.id": id,
      "task.engine": "bullmq",
      "task.attempt": 0,
      "task.max_attempts": 3,
      "task.outcome": "success",
      "task.wait.duration": expect.any(Number),
      "code.function.name": "charge",
      "messaging.destination.name": lab.queue.name,
    });
    expect(span.events.map(({ name }) => name)).toEqual(["charged"]);
  });

  test("counts attempts from zero, of as many as the job has, and leaves the backoff to BullMQ", async () => {
    const telemetry = startTelemetry();
    const metrics = startMetrics();
    const lab = open();
    const seen: unknown[] = [];
    lab.work(
      withTask(async () => {
        seen.push(getTaskContext()?.attempt);
        throw new TypeError("no");
      }),
    );
    const { id } = await addJob(lab.queue, "fails", {}, { attempts: 3, backoff: { type: "fixed", delay: 20 } });
    const job = await lab.reaches("failed", id);
    expect([seen, job.attemptsMade, job.failedReason]).toEqual([[0, 1, 2], 3, "no"]);
    expect(outcomes(telemetry, "fails")).toEqual([
      ["retry", 2],
      ["retry", 2],
      ["failure", 2],
    ]);
    const finished = (await metrics.collect()).get("task.finished")?.dataPoints ?? [];
    expect(finished.map(({ attributes, value }) => [attributes["task.outcome"], value])).toEqual([["failure", 1]]);
    const [first, second, third] = telemetry.named("process fails");
    for (const [retry, before] of [
      [second, first],
      [third, second],
    ]) {
      const link = { attributes: { "task.link": "previous_attempt" }, context: before?.spanContext() };
      expect(retry?.links).toContainEqual(expect.objectContaining(link));
    }
  });

  test("fails a job for good by a NonRetryableError, which arrives untouched", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const error = new NonRetryableError("card expired");
    const run = vi.fn(() => Promise.reject(error));
    const failures: unknown[] = [];
    lab.work(withTask(run)).on("failed", (job, cause) => failures.push([job?.attemptsMade, cause === error]));
    const { id } = await addJob(lab.queue, "charge", {}, { attempts: 5 });
    const job = await lab.reaches("failed", id);
    expect([job.failedReason, job.opts.attempts, run.mock.calls.length]).toEqual(["card expired", 5, 1]);
    await vi.waitFor(() => expect(failures).toEqual([[1, true]]));
    expect(outcomes(telemetry, "charge")).toEqual([["failure", 2]]);
  });

  test("takes BullMQ's own UnrecoverableError for giving up", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    lab.work(withTask(async () => Promise.reject(new lab.bullmq.UnrecoverableError("never"))));
    const { id } = await addJob(lab.queue, "charge", {}, { attempts: 5 });
    expect((await lab.reaches("failed", id)).attemptsMade).toBe(1);
    expect(outcomes(telemetry, "charge")).toEqual([["failure", 2]]);
  });

  test.runIf("discard" in bullmq.Job.prototype)("takes job.discard() for giving up", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const discards = withTask(async (job: Job & { discard?(): void }) => {
      job.discard?.();
      throw new Error("no");
    });
    lab.work(discards);
    const { id } = await addJob(lab.queue, "charge", {}, { attempts: 5 });
    expect((await lab.reaches("failed", id)).attemptsMade).toBe(1);
    expect(outcomes(telemetry, "charge")).toEqual([["failure", 2]]);
  });

  test("a job put off by DelayedError is deferred, no failure, and goes on as the same attempt", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const seen: unknown[] = [];
    const put = withTask(async (job: Job, token?: string) => {
      seen.push(getTaskContext()?.attempt);
      if (seen.length > 1) return;
      await job.moveToDelayed(Date.now() + 50, token);
      throw new lab.bullmq.DelayedError();
    });
    lab.work(put);
    const { id } = await addJob(lab.queue, "put-off", {}, { attempts: 2 });
    await lab.reaches("completed", id);
    expect([seen, outcomes(telemetry, "put-off")]).toEqual([
      [0, 0],
      [
        ["deferred", 0],
        ["success", 0],
      ],
    ]);
  });

  test("so is one put back by WaitingError, and one that is rate limited", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    let runs = 0;
    lab.work(
      withTask(async (job, token) => {
        runs += 1;
        if (runs === 1) {
          await job.moveToWait(token);
          throw new lab.bullmq.WaitingError();
        }
        if (runs > 2) return;
        await lab.queue.rateLimit(30);
        throw lab.bullmq.Worker.RateLimitError();
      }),
    );
    const { id } = await addJob(lab.queue, "busy", {});
    await lab.reaches("completed", id);
    expect(outcomes(telemetry, "busy")).toEqual([
      ["deferred", 0],
      ["deferred", 0],
      ["success", 0],
    ]);
  });

  test.each([undefined, null, 0, "", false, "text", Number.NaN])("a job that throws %j fails", async (thrown) => {
    const telemetry = startTelemetry();
    const lab = open();
    lab.work(withTask(async () => Promise.reject(thrown)));
    const { id } = await addJob(lab.queue, "throws", {});
    const { failedReason } = await lab.reaches("failed", id);
    if (thrown == null) expect(failedReason).toBe(`the processor threw ${thrown}`);
    expect(outcomes(telemetry, "throws")).toEqual([["failure", 2]]);
    const [event] = telemetry.span("process throws").events;
    expect(event?.attributes?.["exception.message"]).toBe(String(thrown));
  });

  test("gives a job of a plain queue.add a context: its id, name and attempt, and no tags", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const seen: unknown[] = [];
    lab.work(withTask(async () => void seen.push({ ...getTaskContext(), signal: undefined })));
    const { id } = await addElsewhere(lab.queue, "plain", { a: 1 });
    await lab.reaches("completed", id);
    expect(seen).toMatchObject([{ taskId: id, funcName: "plain", attempt: 0, maxAttempts: 1, tags: {} }]);
    expect(telemetry.span("process plain").parentSpanContext).toBeUndefined();
  });

  test.each([5, "text", [1], { "otel-taskflow": "{", traceparent: 7, baggage: {} }])(
    "runs a job whose carrier is damaged (%j) without tags",
    async (carrier) => {
      const telemetry = startTelemetry();
      collectDiag();
      const lab = open();
      lab.work(withTask(async () => {}));
      const { id } = await addElsewhere(lab.queue, "damaged", {}, { "otel-taskflow": carrier } as object);
      await lab.reaches("completed", id);
      expect(telemetry.span("process damaged").attributes).toMatchObject({ "task.id": id, "task.outcome": "success" });
    },
  );

  test("is no other job's: what the carrier claims of id, name and attempts is the job's to say", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    lab.work(withTask(async () => {}));
    const own = JSON.stringify({ v: 1, id: "other", name: "other", max: 9, tags: { plan: "pro" } });
    const { id } = await addElsewhere(lab.queue, "mine", {}, { "otel-taskflow": { "otel-taskflow": own } } as object);
    await lab.reaches("completed", id);
    expect(telemetry.span("process mine").attributes).toMatchObject({ "task.id": id, "task.max_attempts": 1 });
  });

  test("keeps the tasks of jobs apart that run at once, in every helper", async () => {
    startTelemetry();
    const lab = open();
    const odd: unknown[] = [];
    const helper = async (job: Job): Promise<void> => {
      await Promise.all([turn(), job.updateProgress(50)]);
      const { taskId, tags } = getTaskContext() ?? {};
      if (taskId !== job.id || tags?.n !== String(job.data.n)) odd.push([job.id, taskId, tags]);
    };
    lab.work(
      withTask(async (job: Job) => await helper(job)),
      { concurrency: 25 },
    );
    const added = Array.from({ length: 50 }, (_, n) => addJob(lab.queue, "one-of-many", { n }, { tags: { n } }));
    for (const { id } of await Promise.all(added)) await lab.reaches("completed", id);
    expect(odd).toEqual([]);
  });

  test("adds, runs and retries jobs as ever where an SDK throws whatever it is asked", async () => {
    breakTelemetry();
    collectDiag();
    const lab = open();
    const seen: unknown[] = [];
    lab.work(
      withTask(async () => {
        seen.push([getTaskContext()?.attempt, getTaskContext()?.tags]);
        taskLog("running");
        if (seen.length === 1) throw new Error("no");
        return "done";
      }),
    );
    const { id } = await addJob(lab.queue, "robust", {}, { attempts: 2, tags: { plan: "pro" } });
    expect((await lab.reaches("completed", id)).returnvalue).toBe("done");
    expect(seen).toEqual([0, 1].map((attempt) => [attempt, { plan: "pro" }]));
  });

  test("gets no signal where its processor takes none, by which BullMQ decides on a cancellation", async () => {
    const lab = open();
    const worker = lab.work(withTask(async () => vi.waitUntil(() => cancelled !== undefined, 5_000)));
    let cancelled: boolean | undefined;
    const { id } = await addJob(lab.queue, "deaf", {});
    await vi.waitFor(async () => expect(await (await lab.queue.getJob(id ?? ""))?.getState()).toBe("active"));
    cancelled = worker.cancelJob(id ?? "");
    expect(cancelled).toBe(false);
    await lab.reaches("completed", id);
  });

  test("a cancelled job's signal aborts, the task's too, and the processor decides how it ends", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const seen: unknown[] = [];
    const worker = lab.work(
      withTask(async (job, _token, signal?: AbortSignal) => {
        const task = getTaskContext();
        setImmediate(() => worker.cancelJob(job.id ?? "", "not needed"));
        await vi.waitUntil(() => signal?.aborted, 5_000);
        seen.push(signal?.reason, task?.signal.aborted, task?.signal.reason?.code);
        throw new lab.bullmq.UnrecoverableError("stopped");
      }),
    );
    const { id } = await addJob(lab.queue, "stops", {}, { attempts: 3 });
    expect((await lab.reaches("failed", id)).failedReason).toBe("stopped");
    expect(seen).toEqual(["not needed", true, "TASK_CANCELLED"]);
    expect(outcomes(telemetry, "stops")).toEqual([["failure", 2]]);
  });
});

await describeVersions("withTask, which is told by options of its own or called by hand,", (open) => {
  test("names the task as it is told to", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    lab.work(withTask(async () => {}, { name: "every-job" }));
    const { id } = await addJob(lab.queue, "payment", {});
    await lab.reaches("completed", id);
    expect(telemetry.span("process every-job").attributes["task.name"]).toBe("every-job");
  });

  test.each([
    ["3", 3],
    [2.5, 3],
    [-1, 1],
    [0, 1],
    ["many", 1],
    [Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER],
  ])("runs a job whose producer asked for %j attempts, which BullMQ takes", async (attempts, expected) => {
    const job = { id: "1", name: "payment", data: {}, opts: { attempts: attempts as number }, timestamp: 1 };
    const processor = withTask(async (_job: typeof job & { attemptsMade: number }) => getTaskContext()?.maxAttempts);
    expect(await processor({ ...job, attemptsMade: 0 })).toBe(expected);
  });

  test("keeps the processor's arity", () => {
    const processors = [async () => {}, async (_job: object) => {}, async (_job: object, _token?: string) => {}];
    expect(processors.map((processor) => withTask(processor).length)).toEqual([0, 1, 2]);
  });

  test("refuses what is no processor or no option", () => {
    expect(() => withTask("processor.js" as never)).toThrow(expect.toSatisfy(isTaskConfigError));
    expect(() => withTask(async () => {}, { name: "" })).toThrow(expect.toSatisfy(isTaskConfigError));
    expect(() => withTask(async () => {}, { logs: "none" as "event" })).toThrow(expect.toSatisfy(isTaskConfigError));
  });

  test("hands log lines to onLog", async () => {
    const lab = open();
    const lines: string[] = [];
    lab.work(withTask(async () => taskLog("hello"), { onLog: ({ message }) => void lines.push(message) }));
    const { id } = await addJob(lab.queue, "logs", {});
    await lab.reaches("completed", id);
    expect([lines, trace.getActiveSpan()]).toEqual([["hello"], undefined]);
  });
});
