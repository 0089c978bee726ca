import type { Context } from "@opentelemetry/api";
import { LiveAttempt } from "./live-attempt.js";

/** An attempt as its `onLog` sees it: its lines are counted as the attempt's own, but do not reach `onLog` again. */
export class Silenced extends LiveAttempt {
  readonly #attempt: LiveAttempt;

  constructor(attempt: LiveAttempt, within: Context) {
    super(attempt.task, attempt.span, { ...attempt.telemetry, onLog: undefined }, within);
    this.#attempt = attempt;
  }

  override get ended(): boolean {
    return this.#attempt.ended;
  }

  override takeLine(most: number): boolean {
    return this.#attempt.takeLine(most);
  }
}
