import { SpanStatusCode } from "@opentelemetry/api";
import { enqueueTask, getTaskContext, isTaskConfigError } from "otel-taskflow";
import { withCarrier } from "otel-taskflow/pg-boss";
import { expect } from "vitest";
import type { Section } from "../rig.js";

/** sendJob, and the other ways to create jobs. */
export const sendingCases: Section = (test, byHand) => {
  test("send returning null is passed on; the span ends, and no task is counted", async ({ rig }) => {
    const options = { singletonKey: "once", singletonSeconds: 3_600, meterProvider: rig.metrics.provider };
    expect([await rig.send({}, options), await rig.send({}, options)]).toEqual([expect.any(String), null]);
    expect(rig.named(`enqueue ${rig.queue}`).map(({ status }) => status.code)).toEqual([0, 0]);
    const points = (await rig.metrics.collect()).get("task.enqueued")?.dataPoints ?? [];
    const own = points.filter(({ attributes }) => attributes["task.name"] === rig.queue);
    expect(own.map(({ value }) => value)).toEqual([1]);
  });

  test("an id of the caller's own is the task's", async ({ rig }) => {
    await rig.work(() => {});
    const id = crypto.randomUUID();
    expect(await rig.send({}, { id })).toBe(id);
    expect((await rig.attempts(1))[0]?.attributes["task.id"]).toBe(id);
  });

  test("what send throws comes through, and is on the span", async ({ rig }) => {
    await expect(rig.send({}, { priority: 1.5 })).rejects.toThrow("priority must be an integer");
    expect(rig.span(`enqueue ${rig.queue}`).status.code).toBe(SpanStatusCode.ERROR);
  });

  test("jobs of boss.insert have their own carriers", async ({ rig }) => {
    const tracerProvider = rig.provider;
    const jobOf = (n: number) =>
      enqueueTask({ funcName: rig.queue, tags: { n: String(n) }, tracerProvider }, (carrier, id) => ({
        ...{ id, data: withCarrier({ n }, carrier) },
      }));
    await rig.boss.insert(rig.queue, await Promise.all([1, 2, 3].map(jobOf)));
    const seen: unknown[] = [];
    await rig.work(({ data }) => void seen.push([data, getTaskContext()?.tags.n]), { batchSize: 3 });
    await rig.attempts(3);
    expect(seen).toEqual(expect.arrayContaining([1, 2, 3].map((n) => [{ n }, String(n)])));
  });

  test("each run of a schedule is a task of its own, with the schedule's tags, linked to where it was made", async ({
    rig: { boss, queue, provider, ...rig },
  }) => {
    const task = { funcName: queue, tags: { plan: "pro" }, relation: "link", tracerProvider: provider } as const;
    await enqueueTask(task, (carrier) => boss.schedule(queue, "0 0 1 1 *", withCarrier({ year: "new" }, carrier)));
    const [schedule] = await boss.getSchedules(queue);
    // what pg-boss does when the time has come, twice
    const ids = [await rig.sendElsewhere(schedule?.data), await rig.sendElsewhere(schedule?.data)];
    const seen: unknown[] = [];
    await rig.work(({ data }) => void seen.push([data, getTaskContext()?.taskId, getTaskContext()?.tags.plan]));
    const spans = await rig.attempts(2);
    expect(seen).toEqual(expect.arrayContaining(ids.map((id) => [{ year: "new" }, id, "pro"])));
    const made = rig.span(`enqueue ${queue}`).spanContext();
    expect(spans.map(({ links }) => links[0]?.context.spanId)).toEqual([made.spanId, made.spanId]);
    expect(new Set([made.traceId, ...spans.map((span) => span.spanContext().traceId)]).size).toBe(3);
    await boss.unschedule(queue);
  });

  byHand("nothing is sent where a tag is illegal, or data is no data", async ({ rig }) => {
    const refused = [rig.send({}, { tags: { "no spaces": "x" } }), rig.send(() => 1)];
    for (const sent of refused) await expect(sent).rejects.toSatisfy(isTaskConfigError);
    expect(await rig.boss.findJobs(rig.queue)).toEqual([]);
  });
};
