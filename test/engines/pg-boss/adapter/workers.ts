import { getTaskContext, isTaskConfigError, taskLog } from "otel-taskflow";
import { type TaskJob, workTask } from "otel-taskflow/pg-boss";
import { expect } from "vitest";
import { deferred } from "../../../support/tasks.js";
import type { Section } from "../rig.js";

/** workTask: batches, options, and its end. */
export const workerCases: Section = (test, byHand) => {
  byHand("of a batch only the job that fails is failed; each has its own context, span and output", async ({ rig }) => {
    const tags = new Map<unknown, unknown>();
    const ids: (string | null)[] = [];
    for (const n of [0, 1, 2, 3]) ids.push(await rig.send({ n }, { tags: { n: String(n) } }));
    const work = async ({ data }: TaskJob): Promise<unknown> => {
      const { n } = data as { n: number };
      taskLog("working", { n });
      await null;
      tags.set(getTaskContext()?.taskId, getTaskContext()?.tags.n);
      if (n === 2) throw new Error("not this one");
      return { doubled: 2 * n };
    };
    await rig.work(work, { batchSize: 4 });
    const jobs = await Promise.all(ids.map((id, n) => rig.job(id, n === 2 ? "failed" : "completed")));
    expect(jobs.map(({ output }) => output)).toMatchObject([
      { doubled: 0 },
      { doubled: 2 },
      { message: "not this one" },
      { doubled: 6 },
    ]);
    expect(tags).toEqual(new Map(ids.map((id, n) => [id, String(n)])));
    const spans = await rig.attempts(4);
    const parents = rig.named(`enqueue ${rig.queue}`).map((span) => span.spanContext().spanId);
    expect(new Set(spans.map((span) => span.parentSpanContext?.spanId))).toEqual(new Set(parents));
    expect(spans.map((span) => span.events.filter(({ name }) => name === "working").length)).toEqual([1, 1, 1, 1]);
  });

  test("a batch runs at once, not one after the other", async ({ rig }) => {
    for (const n of [0, 1]) await rig.send({ n });
    const both = deferred();
    let running = 0;
    await rig.work(
      () => {
        running += 1;
        if (running === 2) both.resolve();
        return both.promise;
      },
      { batchSize: 2 },
    );
    await rig.attempts(2);
  });

  byHand("lines of taskLog go to the worker's onLog", async ({ rig }) => {
    const lines: unknown[] = [];
    const onLog = ({ message, context }: { message: string; context: { taskId: string } }): void => {
      lines.push([message, context.taskId]);
    };
    await workTask(rig.boss, rig.queue, { onLog, pollingIntervalSeconds: 0.5 }, () => taskLog("working"));
    const id = await rig.send();
    await rig.job(id, "completed");
    expect(lines).toEqual([["working", id]]);
  });

  test("an attempt that boss.stop() does not wait for is cancelled, and pg-boss retries the job", async ({ rig }) => {
    const started = deferred<AbortSignal | undefined>();
    await rig.work(() => {
      started.resolve(getTaskContext()?.signal);
      return new Promise(() => {});
    });
    const id = await rig.send({}, { retryLimit: 1 });
    const signal = await started.promise;
    await rig.boss.stop({ timeout: 1_000, close: false });
    expect(signal?.reason).toMatchObject({ code: "TASK_CANCELLED" });
    const [attempt] = await rig.attempts(1);
    expect([attempt?.attributes["task.outcome"], attempt?.status.code]).toEqual(["cancelled", 0]);
    await rig.boss.start();
    await rig.job(id, "retry");
  });

  byHand("options out of range are refused at once, and so is a pg-boss that is too old", async ({ rig }) => {
    const { boss, queue } = rig;
    const old = { work: () => Promise.resolve("id") };
    const refused = [
      workTask(boss, queue, { logs: "nowhere" as "event" }, () => {}),
      workTask(boss, "", {}, () => {}),
      workTask(boss, queue, {}, undefined as never),
      workTask(old, queue, {}, () => {}),
    ];
    for (const worker of refused) await expect(worker).rejects.toSatisfy(isTaskConfigError);
  });
};
