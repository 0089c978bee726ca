import type { HrTime } from "@opentelemetry/api";

/**
 * The clock that a provider reads. Fake timers replace the global one, and the provider's spans would then last no
 * time.
 */
const PERFORMANCE = performance;

/**
 * Tells the start and the end of a span in epoch time, on one axis that no correction of the system's clock bends. Both
 * are pairs of seconds and nanoseconds, because some providers read a bare number as another unit.
 */
export class SpanClock {
  readonly #epoch = Date.now();
  readonly #startedAt = performance.now();

  get start(): HrTime {
    return this.at(this.#startedAt);
  }

  /** Tells a moment of performance.now()'s axis; never one before the start. */
  at(moment: number): HrTime {
    const milliseconds = this.#epoch + Math.max(0, moment - this.#startedAt);
    return [Math.floor(milliseconds / 1000), Math.floor((milliseconds % 1000) * 1_000_000)];
  }
}

/**
 * Makes the clock of a span whose end is told `late`, or under fake timers; the times of any other are the provider's.
 */
export function spanClock(late: boolean): SpanClock | undefined {
  return late || performance !== PERFORMANCE ? new SpanClock() : undefined;
}
