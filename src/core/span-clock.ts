import type { HrTime } from "@opentelemetry/api";

/** What a provider took its own clock from. Fake timers put another in its place: its spans then last no time. */
const PERFORMANCE = performance;

/**
 * The start and the end of a span: both in epoch time, on one axis that no correction of the system's clock bends. As
 * pairs, because some providers read a bare number as another unit.
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

/** The clock of a span whose end is told `late`, or under fake timers; any other's times are the provider's own. */
export function spanClock(late: boolean): SpanClock | undefined {
  return late || performance !== PERFORMANCE ? new SpanClock() : undefined;
}
