import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import type { TaskManagerOptions, TaskOutcome } from "otel-taskflow";
import type { Numbering } from "./mix.js";

/** What the metrics say about the tasks of all managers that were given {@link Ledger.options}. */
export interface Balance {
  readonly enqueued: number;
  readonly finished: Readonly<Partial<Record<TaskOutcome, number>>>;
  /** Attempts that are running, by the up-down counter. */
  readonly active: number;
}

/** Tasks that finished, whatever their outcome. */
export function total({ finished }: Balance): number {
  return Object.values(finished).reduce((sum, count) => sum + count, 0);
}

/** What the hooks say about them. */
export interface Counted {
  readonly added: number;
  /** Tasks that may have been added besides. */
  readonly unknown: number;
  readonly ends: { readonly once: number; readonly otherwise: number };
}

/** Tasks that ended, or are stored, are those that were enqueued, and may be those that are not known. */
export function isBalanced(enqueued: number, found: number, unknown: number): boolean {
  return found >= enqueued && found <= enqueued + unknown;
}

/** Counts tasks twice over: by the metrics, and by the hooks, which know each task by its number. */
export class Ledger {
  readonly #exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  readonly #provider: MeterProvider;
  readonly #ends: Uint8Array;
  #told = 0;

  constructor(tasks: number) {
    const reader = new PeriodicExportingMetricReader({ exporter: this.#exporter, exportIntervalMillis: 3_600_000 });
    this.#provider = new MeterProvider({ readers: [reader] });
    this.#ends = new Uint8Array(tasks);
  }

  /** For every manager whose tasks are counted; each task has its number as the tag `n`. */
  options(): TaskManagerOptions {
    const ended: TaskManagerOptions["onSuccess"] = ({ context }) => {
      const n = Number(context.tags.n);
      this.#ends[n] = (this.#ends[n] ?? 0) + 1;
      this.#told += 1;
    };
    return { meterProvider: this.#provider, onSuccess: ended, onFailure: ended, onCancel: ended };
  }

  /** Ends that the hooks were told. */
  get told(): number {
    return this.#told;
  }

  /** Of the tasks that were added: how many had their end told once, and how many never or more than once. */
  counted({ next, refused, unknown }: Numbering): Counted {
    const once = this.#ends.subarray(0, next).filter((ends) => ends === 1).length;
    const added = next - refused - unknown;
    return { added, unknown, ends: { once, otherwise: added - once } };
  }

  async balance(): Promise<Balance> {
    await this.#provider.forceFlush();
    const enqueued = this.#sum("task.enqueued", "task.name");
    const finished = this.#sum("task.finished", "task.outcome");
    const total = (sums: Record<string, number>): number => Object.values(sums).reduce((sum, one) => sum + one, 0);
    return { enqueued: total(enqueued), finished, active: total(this.#sum("task.attempt.active", "task.name")) };
  }

  close(): Promise<void> {
    return this.#provider.shutdown();
  }

  #sum(name: string, by: string): Record<string, number> {
    const metrics =
      this.#exporter
        .getMetrics()
        .at(-1)
        ?.scopeMetrics.flatMap((scope) => scope.metrics) ?? [];
    const sums: Record<string, number> = {};
    for (const { attributes, value } of metrics.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? []) {
      // an enqueue that failed is counted with its error.type, and is no task
      if (name === "task.enqueued" && attributes["error.type"] !== undefined) continue;
      const key = String(attributes[by]);
      sums[key] = (sums[key] ?? 0) + Number(value);
    }
    return sums;
  }
}
