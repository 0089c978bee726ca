import { diag } from "@opentelemetry/api";
import { getTaskContext, type TaskHook, type TaskManager } from "otel-taskflow";
import type { PgBoss } from "pg-boss";
import { afterAll, beforeAll, describe, expect, type TestContext, test, vi } from "vitest";
import { deferred } from "../../support/tasks.js";
import { stopTelemetry, useContextManager } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { postgresBackend } from "./backends.js";
import { hearEndsNotStored, type Loss, lose } from "./lost-answers.js";
import { openTasks, type Tasks } from "./managers.js";

const PATIENT = { timeout: 40_000, interval: 50 };
const DELAY_MS = 1_500;
const backend = await postgresBackend();
afterAll(() => backend.close());

/** How a task ends, in so many statements at least, and what is stored and told then. */
interface End {
  readonly title: string;
  readonly statements: number;
  readonly run: () => unknown;
  readonly retries?: number;
  /** The retry limit of pg-boss's own. */
  readonly limit?: number;
  readonly state: string;
  readonly attempts: readonly number[];
  readonly told: readonly string[];
}

const no = new Error("no");
const once = (): void => {
  if (getTaskContext()?.attempt === 0) throw no;
};
const fail = (): never => {
  throw no;
};
const success: End = {
  ...{ title: "a success", statements: 1, run: () => {} },
  ...{ state: "completed", attempts: [0], told: ["success 0"] },
};
const failure: End = {
  ...{ title: "a failure", statements: 3, run: fail },
  ...{ state: "failed", attempts: [0], told: ["failure 0"] },
};
const retry: End = {
  ...{ title: "a retry", statements: 2, run: once, retries: 1 },
  ...{ state: "completed", attempts: [0, 1], told: ["retry 0", "success 1"] },
};
const ends: readonly End[] = [
  success,
  failure,
  retry,
  { ...failure, title: "a failure past pg-boss's limit", statements: 1, limit: 0 },
  { ...retry, title: "a retry past pg-boss's limit", statements: 3, limit: 0 },
];
const losses: readonly Loss[] = ["request", "answer"];
const cases = ends.flatMap((end) =>
  losses.flatMap((loss) => Array.from({ length: end.statements }, (_, n) => ({ ...end, nth: n + 1, loss }))),
);

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("a statement that gets no answer", { concurrent: true }, describeLosses);

function describeLosses(): void {
  let endsNotStored = (_id: string): string[] => [];
  beforeAll(() => {
    useContextManager();
    endsNotStored = hearEndsNotStored();
  });
  afterAll(() => {
    stopTelemetry();
    diag.disable();
  });

  test.for(cases)("of $title, $loss $nth: each attempt runs once and is told once", async (end, context) => {
    const { tasks, boss, told, stored, queue } = observed(context);
    const runs: unknown[] = [];
    const starts: number[] = [];
    let sent: readonly string[] = [];
    const task = tasks.task({ name: "task", retries: end.retries ?? 0, delay: DELAY_MS }, () => {
      const { attempt, redelivered } = getTaskContext() ?? {};
      starts.push(Date.now());
      if (runs.push([attempt, redelivered]) === 1) sent = lose(boss, end.loss, end.nth);
      return end.run();
    });
    const id = await tasks.addTask(task);
    if (end.limit !== undefined) await boss.update(queue, undefined, { id, retryLimit: end.limit });
    await tasks.work();
    await vi.waitFor(async () => expect((await stored(id))?.state).toBe(end.state), PATIENT);
    // it has looked what was carried out, where that is not certain
    const looks = end.loss === "answer" || end.nth > 1;
    await vi.waitFor(() => expect(sent.includes("findJobs")).toBe(looks), PATIENT);
    await tasks.idle();
    expect(runs).toEqual(end.attempts.map((attempt) => [attempt, false]));
    expect(told).toEqual(end.told);
    expect((await stored(id))?.output ?? {}).not.toHaveProperty("otel-taskflow");
    expect(endsNotStored(id)).toEqual([]);
    if (end.retries !== undefined) expect((await stored(id))?.retryLimit).toBeGreaterThan(1_000_000);
    const [first = 0, second = Number.POSITIVE_INFINITY] = starts;
    expect(second - first).toBeGreaterThanOrEqual(DELAY_MS - 1);
  });

  test("of a retry whose error the database refuses: the rest is told all the same", async (context) => {
    const { tasks, boss, stored, told } = observed(context);
    const failing = boss.fail.bind(boss);
    let isLost = false;
    boss.fail = async (queue, claim, output) => {
      if (output && "message" in output) throw Object.assign(new Error("out of range"), { code: "22P05" });
      const answer = await failing(queue, claim, output);
      if (isLost) return answer;
      isLost = true;
      throw new Error("Connection terminated unexpectedly");
    };
    const id = await tasks.addTask(tasks.task({ name: "task", retries: 1, delay: 60_000 }, fail));
    await tasks.work();
    await vi.waitFor(async () => expect((await stored(id))?.data).toHaveProperty("progress.next.attempt", 1), PATIENT);
    await vi.waitFor(() => expect(told).toEqual(["retry 0"]), PATIENT);
    expect(endsNotStored(id)).toEqual([]);
  });

  test.for([1, 2].flatMap((nth) => losses.map((loss) => [nth, loss] as const)))(
    "of a retry that another worker stores to the end, the %ith %s lost: it is not redelivered",
    async ([nth, loss], context) => {
      const own = observed(context);
      const [{ tasks, boss, stored }, other] = [own, own.manager({}, { onNotice: false })];
      boss.update = () => Promise.reject(new Error("Connection terminated unexpectedly"));
      const runs: unknown[] = [];
      const run = (): void => {
        const { attempt, redelivered } = getTaskContext() ?? {};
        if (runs.push([attempt, redelivered]) === 1) throw no;
      };
      const id = await tasks.addTask(tasks.task({ name: "task", retries: 1, delay: 6_000 }, run));
      other.tasks.task({ name: "task", retries: 1, delay: 6_000 }, run);
      await tasks.work();
      await vi.waitFor(async () => expect((await stored(id))?.state).toBe("retry"), PATIENT);
      await tasks.shutdown({ timeout: 0 });
      const sent = lose(other.boss, loss, nth);
      await other.tasks.work();
      await vi.waitFor(async () => expect((await stored(id))?.state).toBe("completed"), PATIENT);
      expect(sent.length).toBeGreaterThan(nth);
      expect(runs).toEqual([
        [0, false],
        [1, false],
      ]);
    },
  );

  test.for(losses)("of a cancelled run, the %s lost: it is told once, and not run again", async (loss, context) => {
    const { tasks, boss, told, stored } = observed(context);
    const gate = deferred();
    const run = vi.fn(() => gate.promise);
    const id = await tasks.addTask(tasks.task("task", run));
    await tasks.work();
    await vi.waitFor(() => expect(run).toHaveBeenCalled(), PATIENT);
    lose(boss, loss, 1);
    expect(await tasks.cancel(id)).toBe(true);
    expect((await stored(id))?.state).toBe("cancelled");
    await tasks.idle();
    gate.resolve();
    expect([told, run.mock.calls.length]).toEqual([["cancel 0"], 1]);
    expect(endsNotStored(id)).toEqual([]);
  });

  test.for([1, 2].flatMap((nth) => losses.map((loss) => [nth, loss] as const)))(
    "of a task that is given back, the %ith %s lost: its run afterwards is not redelivered",
    async ([nth, loss], context) => {
      const { tasks, boss, stored, another, named } = observed(context);
      const id = await another.addTask(another.task("task", () => {}));
      lose(boss, loss, nth);
      await tasks.work();
      await vi.waitFor(async () => expect((await stored(id))?.data).toHaveProperty("progress"), PATIENT);
      await tasks.shutdown();
      await another.work();
      await vi.waitFor(async () => expect((await stored(id))?.state).toBe("completed"), PATIENT);
      expect((await stored(id))?.retryCount).toBe(1);
      const [span] = named("process task");
      expect([span?.attributes["task.attempt"], span?.attributes["task.redelivered"]]).toEqual([0, undefined]);
    },
  );

  test.for([1, 2, 3, 4].flatMap((nth) => losses.map((loss) => [nth, loss] as const)))(
    "of a waiting task that is cancelled, the %ith %s lost: it is gone, and told once",
    async ([nth, loss], context) => {
      const { tasks, boss, told, stored } = observed(context);
      const task = tasks.task("task", () => {});
      const id = await tasks.addTask(task, [], { delay: 60_000 });
      const sent = lose(boss, loss, nth);
      expect(await tasks.cancel(id)).toBe(true);
      expect((await stored(id))?.state).toBe("cancelled");
      expect(sent.length).toBeGreaterThan(nth);
      expect(await tasks.cancel(id)).toBe(false);
      await vi.waitFor(() => expect(told).toEqual(["cancel 0"]), PATIENT);
    },
  );
}

interface Observed extends Tasks {
  readonly tasks: TaskManager;
  readonly boss: PgBoss;
  /** Another manager on the queue. */
  readonly another: TaskManager;
  /** The hooks that were called, each with the attempt. */
  readonly told: string[];
  stored(id: string): Promise<StoredJob | undefined>;
}

type StoredJob = Awaited<ReturnType<PgBoss["findJobs"]>>[number];

function observed(context: TestContext): Observed {
  const own = openTasks(backend, context);
  const told: string[] = [];
  const hear = (name: string): TaskHook => {
    return ({ context: { attempt } }) => void told.push(`${name} ${attempt}`);
  };
  // with room for one, it takes nothing from the queue as long as an end is being stored
  const { tasks, boss } = own.manager(
    { concurrency: 1 },
    {
      ...{ onRetry: hear("retry"), onSuccess: hear("success"), onFailure: hear("failure"), onCancel: hear("cancel") },
      onNotice: false,
    },
  );
  const beside = own.visitor();
  const stored = async (key: string): Promise<StoredJob | undefined> =>
    (await (await beside).findJobs(own.queue, { key }))[0];
  return { ...own, tasks, boss, told, stored, another: own.manager({}, { onNotice: false }).tasks };
}
