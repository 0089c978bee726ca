import { TaskManager, type TaskManagerOptions } from "otel-taskflow";
import { type PgBossEngineOptions, pgBossEngine } from "otel-taskflow/pg-boss";
import { PgBoss } from "pg-boss";
import type { TestContext } from "vitest";
import { recordSpans, type TestTelemetry } from "../../support/telemetry.js";
import type { Backend } from "./backends.js";

/** What a test of the engine works with: managers on a queue of its own, and what they traced. */
export interface Tasks extends TestTelemetry {
  readonly queue: string;
  /** Another manager on the queue, and its pg-boss; shut down when the test is finished. */
  manager(engine?: Partial<PgBossEngineOptions>, options?: TaskManagerOptions): { tasks: TaskManager; boss: PgBoss };
  /** A started pg-boss beside those of the managers, on the same queue. */
  visitor(): Promise<PgBoss>;
}

export function openTasks({ connection }: Backend, { onTestFinished }: TestContext): Tasks {
  const telemetry = recordSpans();
  const queue = `tasks-${crypto.randomUUID()}`;
  return {
    ...telemetry,
    queue,
    manager(own, options) {
      const boss = new PgBoss({ ...connection });
      const engine = pgBossEngine({ boss, queue, pollingIntervalSeconds: 0.1, ...own });
      const tasks = new TaskManager({ engine, tracerProvider: telemetry.provider, ...options });
      onTestFinished(async () => void (await tasks.shutdown({ timeout: 0 })));
      return { tasks, boss };
    },
    async visitor() {
      const boss = new PgBoss({ ...connection, max: 1, supervise: false, schedule: false });
      boss.on("error", () => {}); // the calls' own rejections tell
      onTestFinished(() => boss.stop({ graceful: false }));
      await boss.start();
      await boss.createQueue(queue, { policy: "exclusive" });
      return boss;
    },
  };
}
