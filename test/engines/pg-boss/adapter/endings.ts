import { SpanStatusCode } from "@opentelemetry/api";
import { getTaskContext, NonRetryableError } from "otel-taskflow";
import type { TaskJob } from "otel-taskflow/pg-boss";
import { expect } from "vitest";
import { deferred } from "../../../support/tasks.js";
import { otherLinks } from "../../../support/telemetry.js";
import type { Section } from "../rig.js";

/** How attempts end, and what follows. */
export const endingCases: Section = (test, byHand) => {
  test("a retry is the next attempt, after pg-boss's own delay, linked to the last", async ({ rig }) => {
    const starts: number[] = [];
    await rig.work(() => {
      starts.push(Date.now());
      if (getTaskContext()?.attempt !== 2) throw new RangeError("not yet");
    });
    await rig.job(await rig.send({}, { retryLimit: 2, retryDelay: 1 }), "completed");
    const [first, second, third] = await rig.attempts(3);
    expect(
      [first, second, third].map((span) => [span?.attributes["task.attempt"], span?.attributes["task.outcome"]]),
    ).toEqual([
      [0, "retry"],
      [1, "retry"],
      [2, "success"],
    ]);
    expect(first?.status).toEqual({ code: SpanStatusCode.ERROR, message: "not yet" });
    expect(second && otherLinks(second)).toMatchObject([
      { context: { spanId: first?.spanContext().spanId }, attributes: { "task.link": "previous_attempt" } },
    ]);
    expect(third && otherLinks(third)).toMatchObject([{ context: { spanId: second?.spanContext().spanId } }]);
    expect(Number(starts[1]) - Number(starts[0])).toBeGreaterThanOrEqual(999);
    expect(new Set([first, second, third].map((span) => span?.spanContext().traceId)).size).toBe(1);
  });

  test("with retryBackoff the wait counts from when the retry was due", async ({ rig }) => {
    await rig.work(() => {
      if (getTaskContext()?.attempt === 0) throw new Error("not yet");
    });
    await rig.job(await rig.send({}, { retryLimit: 1, retryDelay: 1, retryBackoff: true }), "completed");
    const [, second] = await rig.attempts(2);
    const wait = Number(second?.attributes["task.wait.duration"]);
    expect(wait).toBeGreaterThanOrEqual(0);
    expect(wait).toBeLessThan(5);
  });

  test("a delayed job is due after its delay", async ({ rig }) => {
    await rig.work(() => {});
    const before = Date.now();
    await rig.send({}, { startAfter: 1 });
    const [attempt] = await rig.attempts(1);
    expect(Date.now() - before).toBeGreaterThanOrEqual(999);
    expect(Number(attempt?.attributes["task.wait.duration"])).toBeLessThan(5);
  });

  test("the last failure gives up, and its output says why", async ({ rig }) => {
    await rig.work(() => {
      throw Object.assign(new RangeError("no", { cause: new TypeError("why") }), { code: "E_NO", big: { n: 1 } });
    });
    const { output } = await rig.job(await rig.send({}), "failed");
    expect(output).toMatchObject({ name: "RangeError", message: "no", code: "E_NO", big: { n: 1 } });
    expect(output).toMatchObject({ stack: expect.stringContaining("endings.ts"), cause: { message: "why" } });
    const [attempt] = await rig.attempts(1);
    expect(attempt?.attributes).toMatchObject({ "task.outcome": "failure", "error.type": "RangeError" });
  });

  test("a NonRetryableError fails the job at once, whatever retries it has", async ({ rig }) => {
    await rig.work(() => {
      throw new NonRetryableError("no use");
    });
    const job = await rig.job(await rig.send({}, { retryLimit: 5 }), "failed");
    expect(job.output).toMatchObject({ name: "NonRetryableError", message: "no use" });
    expect((await rig.attempts(1))[0]?.attributes["task.outcome"]).toBe("failure");
  });

  test("a NonRetryableError sends the job to the dead letter queue, whose handler is another task", async ({ rig }) => {
    const dead = `${rig.queue}-dead`;
    await rig.boss.createQueue(dead);
    await rig.work(() => Promise.reject(new NonRetryableError("no use")));
    await rig.send({ order: 7 }, { retryLimit: 5, deadLetter: dead, tags: { plan: "pro" } });
    const seen = deferred<unknown>();
    const look = ({ data }: TaskJob): void =>
      seen.resolve([data, getTaskContext()?.funcName, { ...getTaskContext()?.tags }]);
    await rig.work(look, {}, dead);
    expect(await seen.promise).toEqual([{ order: 7 }, dead, { plan: "pro" }]);
    await rig.boss.offWork(dead);
  });

  const plain = [undefined, null, 0, "", false, "text", 7n, { code: 1 }, Object.freeze([1])];
  const thrown = [...plain, new Error("a text with \0"), { "key \0": ["half \ud83d"] }, hostile()];

  test.for(thrown.map((value, index) => [index, typeof value] as const))(
    "anything thrown fails the job: case %i, a %s",
    async ([index], { rig }) => {
      await rig.work(() => Promise.reject(thrown[index]));
      await rig.job(await rig.send({}), "failed");
      expect((await rig.attempts(1))[0]?.attributes["task.outcome"]).toBe("failure");
    },
  );

  byHand("the task's signal stays quiet after success, although pg-boss's own aborts", async ({ rig }) => {
    const signals: (AbortSignal | undefined)[] = [];
    await rig.work((job) => void signals.push(getTaskContext()?.signal, job.signal));
    await rig.job(await rig.send({}), "completed");
    await rig.job(await rig.send({}), "completed");
    expect(signals.map((signal) => signal?.aborted)).toEqual([false, false, false, false]);
  });

  byHand("an attempt that outlives expireInSeconds fails with a TaskTimeoutError, and is retried", async ({ rig }) => {
    const reasons: unknown[] = [];
    await rig.work(async ({ signal }) => {
      if (getTaskContext()?.attempt === 1) return;
      signal.addEventListener("abort", () => reasons.push(signal.reason.code));
      await new Promise(() => {});
    });
    const id = await rig.send({}, { expireInSeconds: 1, retryLimit: 1 });
    await rig.job(id, "completed");
    const spans = await rig.attempts(2);
    expect(spans.map(({ attributes }) => attributes["task.outcome"])).toEqual(["retry", "success"]);
    expect(spans[0]?.attributes["error.type"]).toBe("TaskTimeoutError");
    expect([reasons, spans[1]?.attributes["task.redelivered"]]).toEqual([["TASK_TIMEOUT"], undefined]);
  });

  byHand(
    "a run after one that failed here is not redelivered, although pg-boss took it for lost first",
    async ({ rig }) => {
      const started = deferred();
      await rig.work(async () => {
        if (getTaskContext()?.attempt === 1) return;
        started.resolve();
        await new Promise(() => {});
      });
      const id = await rig.send({}, { expireInSeconds: 1, retryLimit: 1 });
      await started.promise;
      await rig.lose(id, "started_on");
      await rig.job(id, "completed");
      const [lost, next] = await rig.attempts(2);
      expect([lost?.attributes["error.type"], next?.attributes["task.redelivered"]]).toEqual([
        "TaskTimeoutError",
        undefined,
      ]);
      expect(next?.links.map(({ context }) => context.spanId)).toContain(lost?.spanContext().spanId);
    },
  );

  test.for([
    ["did not end in time", "started_on", "job timed out"],
    ["gave no sign of life", "heartbeat_on", "job heartbeat timeout"],
  ] as const)("a run after one whose worker %s is redelivered", async ([, since, message], { rig }) => {
    const id = await rig.send({}, { retryLimit: 1, heartbeatSeconds: 10 });
    await rig.boss.fetch(rig.queue);
    await rig.lose(id, since);
    expect((await rig.job(id, "retry")).output).toEqual({ value: { message } });
    await rig.work(() => {});
    const [attempt] = await rig.attempts(1);
    expect(attempt?.attributes).toMatchObject({ "task.attempt": 1, "task.redelivered": true });
  });
};

/** Throws whatever is asked of it. */
function hostile(): object {
  const trap = (): never => {
    throw new Error("trapped");
  };
  return new Proxy({}, { get: trap, ownKeys: trap, getPrototypeOf: trap, has: trap });
}
