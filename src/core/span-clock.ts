import type { HrTime } from "@opentelemetry/api";

/**
 * The times of a span whose end is told later than it was: both in epoch time, on one axis that no correction of the
 * system's clock bends. As pairs, because some providers read a bare number as another unit.
 */
export class SpanClock {
  readonly #epoch = Date.now();
  readonly #startedAt = performance.now();

  get start(): HrTime {
    return hrTime(this.#epoch);
  }

  /** A moment of performance.now()'s axis; never before the start. */
  at(moment: number): HrTime {
    return hrTime(this.#epoch + Math.max(0, moment - this.#startedAt));
  }
}

function hrTime(milliseconds: number): HrTime {
  return [Math.floor(milliseconds / 1000), Math.floor((milliseconds % 1000) * 1_000_000)];
}
