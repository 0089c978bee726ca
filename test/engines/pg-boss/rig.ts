import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import type { SendJobOptions, TaskJob } from "otel-taskflow/pg-boss";
import type { ConstructorOptions, PgBoss, SendOptions, WorkOptions } from "pg-boss";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { TestMetrics } from "../../support/metrics.js";
import {
  recordSpans,
  stopTelemetry,
  type TestTelemetry,
  useContextManager,
  usePropagator,
} from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import type { Backend } from "./backends.js";
import { BY_HAND, type Road } from "./roads.js";

/** What a test of the adapter works with: a pg-boss of its own, on a queue of its own, and what was traced. */
export interface Rig extends TestTelemetry {
  readonly metrics: TestMetrics;
  readonly boss: PgBoss;
  readonly queue: string;
  /** Lets a job that was fetched appear to have been left alone since yesterday, and has pg-boss look for such jobs. */
  lose(id: string | null, since: "started_on" | "heartbeat_on"): Promise<void>;
  send(data?: unknown, options?: SendOptions & SendJobOptions): Promise<string | null>;
  /** What a producer sends that does not have this library. */
  sendElsewhere(data: unknown, options?: SendOptions): Promise<string | null>;
  work(handler: (job: TaskJob) => unknown, options?: Partial<WorkOptions>, queue?: string): Promise<string>;
  /** Waits until a job of the queue is in this state; resolves to it. */
  job(id: string | null, state: "completed" | "failed" | "cancelled" | "retry" | "active"): ReturnType<typeof find>;
  /** The spans of the queue's attempts, in order of their end; waits for so many. */
  attempts(count: number): Promise<ReadableSpan[]>;
}

const POLLING = { pollingIntervalSeconds: 0.5 };
const PATIENT = { timeout: 15_000, interval: 50 };

export type RigTest = ReturnType<typeof withRig>;
/** Cases of any road; `byHand` takes those of something that calls by hand alone have. */
export type Section = (test: RigTest, byHand: ReturnType<RigTest["runIf"]>) => void;

/** Tests with a rig, on one backend; several at once. */
export function describeCases(backend: Backend, sections: readonly Section[], road: Road = BY_HAND): void {
  if (backend.unavailable !== undefined) {
    describeUnavailable(backend.title, backend.unavailable);
    return;
  }
  describe(backend.title, { concurrent: true }, () => {
    beforeAll(() => {
      useContextManager();
      usePropagator();
    });
    afterAll(async () => {
      stopTelemetry();
      await road.close();
      await backend.close();
    });
    const rigTest = withRig(backend, road);
    for (const describeSection of sections) describeSection(rigTest, rigTest.runIf(road === BY_HAND));
  });
}

function withRig({ connection }: Backend, road: Road) {
  return test.extend("rig", async ({ onTestFinished }) => {
    const rig = await openRig(connection, recordSpans(), road);
    onTestFinished(() => closeRig(rig));
    return rig;
  });
}

/** A rig that records where it is told; whoever opens it closes it. */
export async function openRig(
  connection: ConstructorOptions,
  given: TestTelemetry = recordSpans(),
  { open, ...road }: Road = BY_HAND,
): Promise<Rig> {
  const telemetry = road.telemetry ?? given;
  const { provider: tracerProvider, named } = telemetry;
  const boss = open(connection);
  boss.on("error", () => {}); // the calls' own rejections tell
  await boss.start();
  const queue = `jobs-${crypto.randomUUID()}`;
  await boss.createQueue(queue, { retryLimit: 0 });
  return {
    ...{ ...telemetry, metrics: road.metrics, boss, queue },
    async lose(id, since) {
      const sql = `update ${connection.schema ?? "pgboss"}.job set ${since} = now() - interval '1 day' where id = $1`;
      await boss.getDb().executeSql(sql, [id]);
      await boss.supervise(queue);
    },
    send: (data, own) => road.send(boss, queue, data, { tracerProvider, ...own }),
    sendElsewhere: (data, own) => road.sendElsewhere(boss, queue, data, own),
    work: (handler, own, name = queue) => road.work(boss, name, { ...POLLING, tracerProvider, ...own }, handler),
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
