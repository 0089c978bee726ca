import type { EventEmitter } from "node:events";
import { quietly, warn } from "../../core/guard.js";
import { whenAborted } from "../../core/when-aborted.js";
import { HOME } from "../home.js";
import { InFlight } from "../in-flight.js";
import { type Answers, asked } from "./answers.js";
import { Generation } from "./generation.js";
import type { GraphileRunner } from "./graphile.js";
import { pause } from "./pause.js";

/** How a runner is started, and how what its workers held is freed. */
export interface KeptRunnerPlan {
  /** Called before the first start. */
  prepare(): Promise<void>;
  run(events: EventEmitter): Promise<GraphileRunner>;
  unlock(workers: readonly string[]): Promise<void>;
  readonly answers: Answers;
  /** Milliseconds between two tries. */
  readonly pause: number;
}

/**
 * graphile-worker's runner, replaced by another when it was in trouble: the old one ends what it runs, and what it
 * could not put down, a lost connection say, is freed for the next one. Otherwise that would be locked for hours.
 */
export class KeptRunner {
  readonly #plan: KeptRunnerPlan;
  readonly #generations = new Set<Generation>();
  readonly #retiring = new InFlight();
  readonly #stopping = new AbortController();
  #started: Promise<void> | undefined;
  #kept: Promise<void> | undefined;

  constructor(plan: KeptRunnerPlan) {
    this.#plan = plan;
  }

  /** Ids that this process may hold locks under. */
  get workers(): string[] {
    return [...this.#generations].flatMap(({ workers }) => workers);
  }

  /** Starts once; rejects where the first start fails, and tries again when asked again. */
  start(): Promise<void> {
    this.#started ??= HOME.runInAsyncScope(() => this.#startFirst());
    return this.#started;
  }

  /** Fetches nothing more. Resolves when what it ran has ended and nothing is held any more. Never rejects. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await quietly("starting graphile-worker", () => this.#started, undefined);
    await this.#kept;
  }

  async #startFirst(): Promise<void> {
    try {
      await this.#plan.prepare();
      this.#kept = this.#keep(await this.#begin());
    } catch (error) {
      this.#started = undefined;
      throw error;
    }
  }

  async #keep(first: Generation): Promise<void> {
    const { signal } = this.#stopping;
    const stopped = whenAborted(signal);
    for (let current: Generation | undefined = first; current !== undefined; ) {
      await Promise.race([current.troubled, stopped]);
      if (!signal.aborted) warn("graphile-worker is in trouble and is started again");
      // the old one goes last: when its pool closes, graphile-worker hears of no more errors of its connections
      const next = await this.#beginAgain();
      void this.#retiring.add(this.#retire(current));
      current = next;
    }
    await this.#retiring.settled();
  }

  async #beginAgain(): Promise<Generation | undefined> {
    const { signal } = this.#stopping;
    let next: Generation | undefined;
    while (next === undefined && !signal.aborted) {
      await pause(this.#plan.pause, signal);
      if (!signal.aborted) next = await quietly("starting graphile-worker", () => this.#begin(), undefined);
    }
    return next;
  }

  async #begin(): Promise<Generation> {
    const generation = new Generation(this.#plan.answers);
    this.#generations.add(generation);
    try {
      await asked(this.#plan.answers, () => generation.start(this.#plan.run));
    } catch (error) {
      this.#generations.delete(generation);
      throw error;
    }
    return generation;
  }

  async #retire(generation: Generation): Promise<void> {
    const { signal } = this.#stopping;
    await generation.stop();
    const unlock = (): Promise<boolean> => this.#plan.unlock(generation.workers).then(() => true);
    while (!(await quietly("freeing what a stopped worker held", unlock, false))) {
      if (signal.aborted) return;
      await pause(this.#plan.pause, signal);
    }
    this.#generations.delete(generation);
  }
}
