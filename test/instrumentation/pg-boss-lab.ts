import { trace } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import * as pgBoss from "pg-boss";
import { onTestFinished, vi } from "vitest";
import { type Backend, postgresBackend, query } from "../engines/pg-boss/backends.js";
import { startTelemetry, type TestTelemetry } from "../support/telemetry.js";

/** The library's class, whose instances have no column, and its methods before any test has wrapped them. */
export const { PgBoss: PlainPgBoss } = pgBoss;
const { send, insert, work: startWork } = PlainPgBoss.prototype;
export const backend: Backend = await postgresBackend();

const PATIENT = { timeout: 15_000, interval: 20 };
const POLLING = { pollingIntervalSeconds: 0.5 };

/** A job as its table has it. */
export interface StoredJob {
  readonly id: string;
  readonly name: string;
  readonly data: unknown;
  readonly state: string;
  readonly output: unknown;
  readonly trace_context: Record<string, string> | null;
}

/** A started instance of pg-boss with a queue of its own, and what is traced meanwhile. */
export interface Lab extends TestTelemetry {
  readonly boss: pgBoss.PgBoss;
  readonly queue: string;
  /** Makes one more queue, which no other test uses. */
  addQueue(options?: Partial<pgBoss.Queue>): Promise<string>;
  stored(queue?: string): Promise<StoredJob[]>;
  /** Waits until so many jobs of a queue are in this state. */
  reach(state: string, count: number, queue?: string): Promise<StoredJob[]>;
  work(handler: (jobs: pgBoss.Job<object>[]) => unknown, options?: object, queue?: string): Promise<string>;
  /** Calls `fn` within a request's span, and resolves to its trace. */
  inRequest(fn: () => unknown): Promise<string>;
}

/** `Class` is the application's. */
export async function openLab(
  Class: typeof pgBoss.PgBoss,
  options: Partial<pgBoss.ConstructorOptions> = {},
): Promise<Lab> {
  const telemetry = startTelemetry();
  const boss = new Class({ ...backend.connection, schedule: false, ...options });
  boss.on("error", () => {}); // the calls' own rejections tell
  await boss.start();
  onTestFinished(() => boss.stop({ graceful: false }));
  const addQueue: Lab["addQueue"] = async (own) => {
    const name = `jobs-${crypto.randomUUID().slice(0, 8)}`;
    await boss.createQueue(name, own);
    return name;
  };
  const queue = await addQueue({ retryLimit: 0 });
  const stored: Lab["stored"] = async (name = queue) => {
    const columns = "id, name, data, state, output, trace_context";
    const sql = `select ${columns} from ${backend.connection.schema}.job where name = '${name}' order by created_on, id`;
    return (await query(backend.url ?? "", sql)) as StoredJob[];
  };
  return {
    ...{ ...telemetry, boss, queue, addQueue, stored },
    reach: (state, count, name) =>
      vi.waitFor(async () => {
        const jobs = (await stored(name)).filter((job) => job.state === state);
        if (jobs.length !== count) throw new Error(`expected ${count} jobs ${state}, found ${jobs.length}`);
        return jobs;
      }, PATIENT),
    work: (handler, own = {}, name = queue) => boss.work<object>(name, { ...POLLING, ...own }, handler as never),
    inRequest: (fn) =>
      trace.getTracer("service").startActiveSpan("request", async (span) => {
        await fn();
        span.end();
        return span.spanContext().traceId;
      }),
  };
}

/** pg-boss without this library. */
export interface Bare {
  readonly boss: pgBoss.PgBoss;
  send(queue: string, data: object): Promise<unknown>;
  insert(queue: string, jobs: object[]): Promise<unknown>;
  work(queue: string, handler: () => unknown): Promise<unknown>;
}

export async function openBare(options: Partial<pgBoss.ConstructorOptions> = {}): Promise<Bare> {
  const boss = new PlainPgBoss({ ...backend.connection, schedule: false, ...options });
  boss.on("error", () => {}); // the calls' own rejections tell
  await boss.start();
  onTestFinished(() => boss.stop({ graceful: false }));
  return {
    boss,
    send: (...args) => Reflect.apply(send, boss, args),
    insert: (...args) => Reflect.apply(insert, boss, args),
    work: (queue, handler) => Reflect.apply(startWork, boss, [queue, POLLING, handler]),
  };
}

export function traceOf(span: ReadableSpan | undefined): string | undefined {
  return span?.spanContext().traceId;
}

/** The trace of a carrier that stands in a job's column. */
export function traceIn(job: StoredJob | undefined): string | undefined {
  return job?.trace_context?.traceparent?.split("-")[1];
}
