import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { type SendJobOptions, sendJob, type TaskJob, workTask } from "otel-taskflow/pg-boss";
import { type ConstructorOptions, PgBoss, type SendOptions, type WorkOptions } from "pg-boss";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import {
  recordSpans,
  stopTelemetry,
  type TestTelemetry,
  useContextManager,
  usePropagator,
} from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import type { Backend } from "./backends.js";

/** What a test of the adapter works with: a pg-boss of its own, on a queue of its own, and what was traced. */
export interface Rig extends TestTelemetry {
  readonly boss: PgBoss;
  readonly queue: string;
  /** Lets a job that was fetched appear to have been left alone since yesterday, and has pg-boss look for such jobs. */
  lose(id: string | null, since: "started_on" | "heartbeat_on"): Promise<void>;
  send(data?: unknown, options?: SendOptions & SendJobOptions): Promise<string | null>;
  work(handler: (job: TaskJob) => unknown, options?: Partial<WorkOptions>): Promise<string>;
  /** Waits until a job of the queue is in this state; resolves to it. */
  job(id: string | null, state: "completed" | "failed" | "cancelled" | "retry" | "active"): ReturnType<typeof find>;
  /** The spans of the queue's attempts, in order of their end; waits for so many. */
  attempts(count: number): Promise<ReadableSpan[]>;
}

const POLLING = { pollingIntervalSeconds: 0.5 };
const PATIENT = { timeout: 15_000, interval: 50 };

export type RigTest = ReturnType<typeof withRig>;

/** Tests with a rig, on one backend; several at once. */
export function describeCases(backend: Backend, sections: readonly ((test: RigTest) => void)[]): void {
  if (backend.unavailable !== undefined) {
    describeUnavailable(backend.title, backend.unavailable);
    return;
  }
  describe(backend.title, { concurrent: true, timeout: 40_000 }, () => {
    beforeAll(() => {
      useContextManager();
      usePropagator();
    });
    afterAll(async () => {
      stopTelemetry();
      await backend.close();
    });
    for (const describeSection of sections) describeSection(withRig(backend));
  });
}

function withRig({ connection }: Backend) {
  return test.extend("rig", async ({ onTestFinished }) => {
    const rig = await openRig(connection);
    onTestFinished(() => closeRig(rig), 20_000);
    return rig;
  });
}

/** A rig that records where it is told; whoever opens it closes it. */
export async function openRig(connection: ConstructorOptions, telemetry: TestTelemetry = recordSpans()): Promise<Rig> {
  const { provider: tracerProvider, named } = telemetry;
  const boss = new PgBoss({ openTelemetry: { enabled: false }, ...connection });
  boss.on("error", () => {}); // the calls' own rejections tell
  await boss.start();
  const queue = `jobs-${crypto.randomUUID()}`;
  await boss.createQueue(queue, { retryLimit: 0 });
  return {
    ...{ ...telemetry, boss, queue },
    async lose(id, since) {
      const sql = `update ${connection.schema ?? "pgboss"}.job set ${since} = now() - interval '1 day' where id = $1`;
      await boss.getDb().executeSql(sql, [id]);
      await boss.supervise(queue);
    },
    send: (data, own) => sendJob(boss, queue, data, { tracerProvider, ...own }),
    work: (handler, own) => workTask(boss, queue, { ...POLLING, tracerProvider, ...own }, handler),
    job: (id, state) =>
      vi.waitFor(async () => {
        const job = await find(boss, queue, id);
        expect(job.state).toBe(state);
        return job;
      }, PATIENT),
    attempts: (count) =>
      vi.waitFor(() => {
        // pg-boss's own spans, where it records some, have the same names
        const spans = named(`process ${queue}`).filter(({ attributes }) => "task.id" in attributes);
        expect(spans).toHaveLength(count);
        return spans;
      }, PATIENT),
  };
}

export async function closeRig({ boss, queue }: Rig): Promise<void> {
  await boss.offWork(queue);
  await boss.deleteQueue(queue);
  await boss.stop({ graceful: false });
}

async function find(boss: PgBoss, queue: string, id: string | null) {
  const [job] = id === null ? [] : await boss.findJobs(queue, { id });
  if (job === undefined) throw new Error(`there is no job ${id}`);
  return job;
}
