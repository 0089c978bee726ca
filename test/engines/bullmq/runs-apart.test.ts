import { trace } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { enqueueTask, getTaskContext } from "otel-taskflow";
import { withCarrier } from "otel-taskflow/bullmq";
import { expect, test, vi } from "vitest";
import { otherLinks, startTelemetry, type TestTelemetry } from "../../support/telemetry.js";
import type { Job, Lab } from "./lab.js";
import { describeRoads } from "./roads.js";

const traceOf = (span: ReadableSpan): string => span.spanContext().traceId;
const linksOf = (span: ReadableSpan): unknown[] =>
  otherLinks(span).map(({ context, attributes }) => [attributes?.["task.link"], context.spanId]);

/** The link to an attempt before. */
const before = (span: ReadableSpan | undefined): unknown => ["previous_attempt", span?.spanContext().spanId];

/** The attempts of a job and its enqueue span. */
function told({ span, named }: TestTelemetry, job: string): { enqueued: ReadableSpan; runs: ReadableSpan[] } {
  return { enqueued: span(`enqueue ${job}`), runs: named(`process ${job}`) };
}

/** Fails `times` times. */
function failing(times: number, error: (failed: number) => Error = () => new Error("no")): (job: Job) => Promise<void> {
  let runs = 0;
  return async (_job) => {
    runs += 1;
    if (runs <= times) throw error(runs);
  };
}

async function startedAgain(
  lab: Lab,
  id: string | undefined,
  from: "completed" | "failed",
  reset = false,
): Promise<void> {
  const job = await lab.reaches(from, id);
  await job.retry(from, reset ? { resetAttemptsMade: true } : {});
}

await describeRoads("a job that is started again by hand", (open, bullmq, { addJob, withTask }) => {
  const expectReplay = ({ enqueued, runs }: ReturnType<typeof told>, attempts: readonly number[]): void => {
    expect(runs.map(({ attributes }) => attributes["task.attempt"])).toEqual(attempts);
    const replay = runs.at(-1) as ReadableSpan;
    expect([traceOf(replay) === traceOf(enqueued), replay.parentSpanContext]).toEqual([false, undefined]);
    expect(linksOf(replay)).toEqual([["previous_run", enqueued.spanContext().spanId]]);
    for (const [index, run] of runs.slice(0, -1).entries()) {
      const links = index === 0 ? [] : [before(runs[index - 1])];
      expect([traceOf(run), linksOf(run)]).toEqual([traceOf(enqueued), links]);
    }
  };

  test("after all its attempts is in a trace of its own, which is linked as a previous run", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    lab.work(withTask(failing(2)));
    const { id } = await addJob(lab.queue, "mail", {}, { attempts: 2 });
    await startedAgain(lab, id, "failed");
    await lab.reaches("completed", id);
    expectReplay(told(telemetry, "mail"), [0, 1, 2]);
  });

  test("after it gave up early is so too", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    lab.work(withTask(failing(1, () => new bullmq.UnrecoverableError("never"))));
    const { id } = await addJob(lab.queue, "mail", {}, { attempts: 5 });
    await startedAgain(lab, id, "failed");
    await lab.reaches("completed", id);
    expectReplay(told(telemetry, "mail"), [0, 1]);
  });

  test("after it succeeded is so too", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    lab.work(withTask(failing(0)));
    const { id } = await addJob(lab.queue, "mail", {}, { attempts: 5 });
    await startedAgain(lab, id, "completed");
    await vi.waitFor(() => expect(telemetry.named("process mail")).toHaveLength(2), 5_000);
    expectReplay(told(telemetry, "mail"), [0, 1]);
  });

  test("with its attempts set back is so too, and so is the retry that follows", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    lab.work(withTask(failing(3)));
    const { id } = await addJob(lab.queue, "mail", {}, { attempts: 2 });
    await startedAgain(lab, id, "failed", true);
    await lab.reaches("completed", id);
    const { enqueued, runs } = told(telemetry, "mail");
    const link = ["previous_run", enqueued.spanContext().spanId];
    expect(runs.map(linksOf)).toEqual([[], [before(runs[0])], [link], [link, before(runs[2])]]);
  });

  test("is not what a retry by itself is, whatever the error says", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    lab.work(
      withTask(
        failing(3, (failed) => (failed === 1 ? new Error("no") : failed === 2 ? new Error() : new TypeError(""))),
      ),
    );
    const { id } = await addJob(lab.queue, "mail", {}, { attempts: 4 });
    await lab.reaches("completed", id);
    const { enqueued, runs } = told(telemetry, "mail");
    expect(runs.map(traceOf)).toEqual(Array(4).fill(traceOf(enqueued)));
  });
});

await describeRoads("a job that is put off", (open, bullmq, { addJob, withTask }) => {
  test("has a trace for each further run, linked to its enqueue span, and the number of its attempt", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    let runs = 0;
    lab.work(
      withTask(async (job: Job, token?: string) => {
        runs += 1;
        if (runs === 5) return;
        await job.moveToDelayed(Date.now() + 5, token);
        throw new bullmq.DelayedError();
      }),
    );
    const { id } = await addJob(lab.queue, "poll", {}, { attempts: 2 });
    await lab.reaches("completed", id);
    const { enqueued, runs: spans } = told(telemetry, "poll");
    expect(new Set(spans.map(traceOf)).size).toBe(5);
    const [first, ...others] = spans;
    expect(first && traceOf(first)).toBe(traceOf(enqueued));
    for (const one of others) expect(linksOf(one)).toEqual([["enqueue", enqueued.spanContext().spanId]]);
    expect(spans.map(({ attributes }) => attributes["task.attempt"])).toEqual([0, 0, 0, 0, 0]);
  });

  test("is in its producer's trace again with its next attempt", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    let runs = 0;
    const process = async (job: Job, token?: string): Promise<void> => {
      runs += 1;
      if (runs === 2 || runs === 5) throw new Error("no");
      if (runs === 6) return;
      await job.moveToDelayed(Date.now() + 5, token);
      throw new bullmq.DelayedError();
    };
    lab.work(withTask(process));
    const { id } = await addJob(lab.queue, "poll", {}, { attempts: 3 });
    await lab.reaches("completed", id);
    const { enqueued, runs: spans } = told(telemetry, "poll");
    expect(spans.map(({ attributes }) => attributes["task.attempt"])).toEqual([0, 0, 1, 1, 1, 2]);
    const inTrace = spans.map((span) => traceOf(span) === traceOf(enqueued));
    expect(inTrace).toEqual([true, false, true, false, false, true]);
  });

  test("stays in its trace where it waited for its children", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const flow = lab.flow();
    const { queue } = lab;
    lab.work(
      withTask(async (job: Job, token?: string) => {
        if (job.name === "child" || job.data.step === 1) return;
        await job.updateData({ step: 1 });
        const parent = { id: job.id ?? "", queue: job.queueQualifiedName };
        await flow.add({ name: "child", queueName: queue.name, opts: { parent } });
        if (await job.moveToWaitingChildren(token ?? "")) throw new bullmq.WaitingChildrenError();
      }),
    );
    const { id } = await addJob(queue, "parent", {});
    await lab.reaches("completed", id);
    const { enqueued, runs } = told(telemetry, "parent");
    expect(runs.map((run) => [run.attributes["task.outcome"], run.parentSpanContext?.spanId])).toEqual([
      ["deferred", enqueued.spanContext().spanId],
      ["success", enqueued.spanContext().spanId],
    ]);
  });
});

await describeRoads("a job that a schedule adds", (open, _bullmq, { withTask }) => {
  async function runsOf(lab: Lab, telemetry: TestTelemetry, declare: () => Promise<unknown>): Promise<string> {
    const tags: unknown[] = [];
    lab.work(withTask(async () => void tags.push(getTaskContext()?.tags)));
    const boot = await trace.getTracer("app").startActiveSpan("boot", async (span) => {
      await declare();
      span.end();
      return span.spanContext().traceId;
    });
    await vi.waitFor(() => expect(telemetry.named("process tick").length).toBeGreaterThan(2), 5_000);
    const runs = telemetry.named("process tick");
    expect(new Set([boot, ...runs.map(traceOf)]).size).toBe(runs.length + 1);
    expect(new Set(runs.map(({ attributes }) => attributes["task.trigger"]))).toEqual(new Set(["schedule"]));
    return boot;
  }

  test("says so on its span, in a trace of its own", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    await runsOf(lab, telemetry, () => lab.queue.upsertJobScheduler("every", { every: 100 }, { name: "tick" }));
  });

  test("is in no trace of who declared the schedule with a carrier, but has its tags and a link", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const declare = (): Promise<unknown> =>
      enqueueTask({ funcName: "tick", tags: { plan: "pro" } }, (carrier) =>
        lab.queue.upsertJobScheduler("every", { every: 100 }, { name: "tick", opts: withCarrier({}, carrier) }),
      );
    await runsOf(lab, telemetry, declare);
    const [run] = telemetry.named("process tick");
    expect(run?.attributes["task.tag.plan"]).toBe("pro");
    expect(run && linksOf(run)).toEqual([["enqueue", telemetry.span("enqueue tick").spanContext().spanId]]);
  });
});
