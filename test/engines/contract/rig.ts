import { TaskManager, type TaskManagerOptions } from "otel-taskflow";
import { expect, vi } from "vitest";
import { recordMetrics, type TestMetrics } from "../../support/metrics.js";
import { recordSpans, type TestTelemetry } from "../../support/telemetry.js";
import type { EngineStore, EngineWorld } from "../world.js";

const APPEARS_WITHIN_MS = 10_000;

export interface RigOptions extends TaskManagerOptions {
  /** Attempts at once. Default: the engine's. */
  concurrency?: number;
}

/** What one case works with: a store that nothing else uses, and telemetry of its own. */
export interface Rig extends TestTelemetry {
  readonly world: EngineWorld;
  readonly store: EngineStore;
  readonly metrics: TestMetrics;
  /** Another manager on the store, as another process would have it; shut down when the case is over. */
  manager(options?: RigOptions): TaskManager;
  /** Runs all that is stored, and what follows from it. */
  finish(tasks: TaskManager): Promise<void>;
  /** Waits until a span of this name has ended. */
  ended(name: string): Promise<void>;
  /** Called when the case is over, last first. */
  onClose(close: () => unknown): void;
  close(): Promise<void>;
}

/** Several cases may run at once: nothing of a rig is registered globally. */
export async function openRig(world: EngineWorld): Promise<Rig> {
  const store = await world.create();
  const telemetry = recordSpans();
  const metrics = recordMetrics();
  const closers: (() => unknown)[] = [() => store.close(), () => telemetry.provider.shutdown()];
  return {
    ...telemetry,
    ...{ world, store, metrics },
    manager({ concurrency, ...options } = {}) {
      const engine = store.engine(concurrency === undefined ? {} : { concurrency });
      const providers = { tracerProvider: telemetry.provider, meterProvider: metrics.provider };
      const tasks = new TaskManager({ engine, onNotice: false, ...providers, ...options });
      closers.push(() => tasks.shutdown({ timeout: 0 }));
      return tasks;
    },
    async finish(tasks) {
      await tasks.work();
      await tasks.idle();
    },
    ended: (name) => vi.waitFor(() => expect(telemetry.named(name)).not.toEqual([]), APPEARS_WITHIN_MS),
    onClose: (close) => void closers.push(close),
    async close() {
      for (const close of closers.reverse()) await close();
      await metrics.provider.shutdown();
    },
  };
}
