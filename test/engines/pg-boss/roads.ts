import { inTask, type SendJobOptions, sendJob, type TaskJob, withTasks, workTask } from "otel-taskflow/pg-boss";
import * as pgBoss from "pg-boss";
import { recordMetrics, type TestMetrics } from "../../support/metrics.js";
import { recordSpans, type TestTelemetry } from "../../support/telemetry.js";

type Boss = pgBoss.PgBoss;
type Options = pgBoss.SendOptions & SendJobOptions;
type Handler = (job: TaskJob) => unknown;

/** A way by which jobs become tasks: calls of the adapter, or a patched class whose methods are called as ever. */
export interface Road {
  open(connection: pgBoss.ConstructorOptions): Boss;
  send(boss: Boss, queue: string, data: unknown, options: Options): Promise<string | null>;
  /** `boss.send` of a producer that does not have this library. */
  sendElsewhere(boss: Boss, queue: string, data: unknown, options?: pgBoss.SendOptions): Promise<string | null>;
  work(boss: Boss, queue: string, options: object, handler: Handler): Promise<string>;
  /** Where all of its spans are; by hand each call says. */
  readonly telemetry?: TestTelemetry;
  /** Patched it has all metrics; by hand it has those of calls that say so. */
  readonly metrics: TestMetrics;
  close(): Promise<void>;
}

const metrics = recordMetrics();
/** No job has it for data. */
const NOTHING = Symbol("nothing");

export const BY_HAND: Road = {
  open: (connection) => new pgBoss.PgBoss({ openTelemetry: { enabled: false }, ...connection }),
  send: (boss, queue, data, options) => sendJob(boss, queue, data, options),
  sendElsewhere: (boss, queue, data, options) => boss.send(queue, data as object, options),
  work: (boss, queue, options, handler) => workTask(boss, queue, options, handler),
  metrics,
  close: () => metrics.provider.shutdown(),
};

/** Patches pg-boss in this process, for good. */
export function patchedRoad(): Road {
  const { send } = pgBoss.PgBoss.prototype;
  const Bare = pgBoss.PgBoss;
  const telemetry = recordSpans();
  let added: { readonly data: unknown; readonly options: Options } | undefined;
  const wishes = (job: { data: unknown }): Partial<Options> => {
    const { data, options } = added ?? { data: NOTHING, options: {} };
    return data === job.data ? options : {};
  };
  const { PgBoss } = withTasks(pgBoss, {
    ...{ tracerProvider: telemetry.provider, meterProvider: metrics.provider },
    tags: (job) => wishes(job).tags,
    relation: (job) => wishes(job).relation,
  });
  const bare = new Map<pgBoss.ConstructorOptions, Promise<Boss>>();
  const opened = new WeakMap<Boss, pgBoss.ConstructorOptions>();
  const bareOf = (boss: Boss): Promise<Boss> => {
    const connection = opened.get(boss) ?? {};
    const known = bare.get(connection) ?? new Bare({ ...connection, schedule: false, supervise: false }).start();
    bare.set(connection, known);
    return known;
  };
  return {
    open(connection) {
      const boss = new PgBoss(connection);
      opened.set(boss, connection);
      return boss;
    },
    send(boss, queue, data, options) {
      const { tags: _tags, relation: _relation, tracerProvider: _tracers, meterProvider: _meters, ...others } = options;
      added = { data, options };
      try {
        return boss.send(queue, data as object, others);
      } finally {
        added = undefined;
      }
    },
    sendElsewhere: async (boss, ...job) => (await Reflect.apply(send, await bareOf(boss), job)) as string | null,
    work: (boss, queue, { tracerProvider: _tracers, ...options }: { tracerProvider?: unknown }, handler) =>
      boss.work(queue, { ...options, includeMetadata: true } as never, batchHandler(handler) as never),
    ...{ telemetry, metrics },
    async close() {
      for (const boss of bare.values()) await (await boss).stop({ graceful: false });
      await Promise.all([metrics.provider.shutdown(), telemetry.provider.shutdown()]);
    },
  };
}

/** Calls `handler` for each job: of several, in the task of each. */
function batchHandler(handler: Handler): (jobs: TaskJob[]) => unknown {
  const handle = async (jobs: TaskJob[]): Promise<unknown> => {
    const [job] = jobs;
    return jobs.length === 1 && job !== undefined
      ? await handler(job)
      : await Promise.all(jobs.map((one) => inTask(one, () => handler(one))));
  };
  return Object.defineProperty(handle, "name", { value: handler.name });
}
