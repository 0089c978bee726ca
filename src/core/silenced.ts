import type { Span } from "@opentelemetry/api";
import type { ActiveAttempt } from "./context.js";
import type { AttemptMeasures } from "./metrics.js";
import type { Telemetry } from "./telemetry.js";
import type { TaskContext } from "./types.js";

/** An attempt as `onLog` sees it: the same one, but its lines reach no `onLog`. */
export class Silenced implements ActiveAttempt {
  readonly context: TaskContext;
  readonly span: Span;
  readonly telemetry: Telemetry;
  readonly measures: AttemptMeasures | undefined;
  readonly #attempt: ActiveAttempt;

  constructor(attempt: ActiveAttempt) {
    this.#attempt = attempt;
    this.context = attempt.context;
    this.span = attempt.span;
    this.telemetry = { ...attempt.telemetry, onLog: undefined };
    this.measures = attempt.measures;
  }

  get ended(): boolean {
    return this.#attempt.ended;
  }

  get logged(): number {
    return this.#attempt.logged;
  }

  set logged(lines: number) {
    this.#attempt.logged = lines;
  }

  get dropped(): number {
    return this.#attempt.dropped;
  }

  set dropped(lines: number) {
    this.#attempt.dropped = lines;
  }
}
