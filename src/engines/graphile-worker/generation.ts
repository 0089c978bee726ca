import { EventEmitter } from "node:events";
import { debug } from "../../core/guard.js";
import { type Answers, tellFailure } from "./answers.js";
import type { GraphileRunner } from "./graphile.js";

/** After one of these, graphile-worker works with fewer workers (0.16), or with none (0.18), and does not recover. */
const TROUBLE = ["worker:fatalError", "worker:getJob:error", "pool:fatalError", "pool:gracefulShutdown"];
/** What tells that the database did not answer, and that it did. */
const SILENCE = ["worker:getJob:error", "pool:listen:error"];
const ANSWER = ["worker:getJob:empty", "job:start", "pool:listen:success"];

/** One start of graphile-worker's runner, followed by the events it emits. */
export class Generation {
  /** Under which ids it locks its jobs: its workers' (0.16), or their pool's (0.18). */
  readonly workers: string[] = [];
  /** Resolves when it should be replaced. */
  readonly troubled: Promise<void>;
  readonly #events = new EventEmitter();
  #runner: GraphileRunner | undefined;
  #stopping = false;
  #running = 0;
  #onDrained: (() => void) | undefined;

  constructor(answers: Answers) {
    const events = this.#events;
    events.on("worker:create", ({ worker }) => this.workers.push(worker.workerId));
    events.on("pool:create", ({ workerPool }) => this.workers.push(workerPool.id));
    events.on("pool:gracefulShutdown", () => {
      this.#stopping = true;
    });
    for (const event of SILENCE) events.on(event, ({ error }) => tellFailure(answers, error));
    for (const event of ANSWER) events.on(event, () => answers.back());
    events.on("job:start", () => {
      this.#running += 1;
    });
    for (const event of ["job:complete", "worker:fatalError"]) events.on(event, () => this.#ended());
    this.troubled = new Promise((resolve) => {
      for (const event of TROUBLE) events.on(event, () => resolve());
    });
  }

  /** Starts it, once. */
  async start(run: (events: EventEmitter) => Promise<GraphileRunner>): Promise<void> {
    this.#runner = await run(this.#events);
    this.#runner.promise.catch((error: unknown) => debug("graphile-worker's runner ended", error));
  }

  /** Fetches nothing more; resolves when what it runs has ended. Its `promise` would not do: on 0.18 it may never settle. */
  async stop(): Promise<void> {
    // told to stop while it does so by itself, it closes its connections under what it still runs
    if (this.#stopping) await this.#drained();
    const runner = this.#runner;
    const stop = async (): Promise<unknown> => await runner?.stop();
    await stop().catch((error: unknown) => debug("stopping graphile-worker", error));
    await this.#drained();
  }

  #ended(): void {
    this.#running -= 1;
    if (this.#running === 0) this.#onDrained?.();
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#onDrained = resolve;
      if (this.#running === 0) resolve();
    });
  }
}
