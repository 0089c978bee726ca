import { EventEmitter } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { debug, quietly, warn } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import { InFlight } from "../../core/in-flight.js";
import { whenAborted } from "../../core/when-aborted.js";
import { untraced } from "../untraced.js";
import type { GraphileEvent, GraphileRunner, GraphileTask } from "./library.js";
import type { EngineSettings } from "./options.js";
import type { EndedJobs } from "./settle.js";
import { asked, type Store, type StoreNews, tellFailure } from "./store.js";

/**
 * graphile-worker emits one of these when it loses a worker (0.16) or stops altogether (0.18), over one query that failed.
 * It does not recover by itself (https://github.com/graphile/worker/issues/592 and 636).
 */
const TROUBLE = ["worker:fatalError", "worker:getJob:error", "pool:fatalError", "pool:gracefulShutdown"];
/** Events that tell that the database did not answer, and that it did. */
const SILENCE = ["worker:getJob:error", "pool:listen:error"];
const ANSWER = ["worker:getJob:empty", "job:start", "pool:listen:success"];
/** A worker that emits one of these has the answer to a fetch; it hands the job over, if it got one, in the same turn. */
const FETCHED = ["worker:getJob:empty", "worker:getJob:error", "job:start"];
const FETCH_POLL_MS = 10;

/**
 * Without these, graphile-worker 0.18 gives the promise that a job is completed or failed to nobody, and its rejection
 * ends the process. No issue of it is known; they may go when it awaits that promise, as 0.16 does.
 */
const PRESET = { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } };

/** The parts that a worker works with. */
export interface WorkerParts {
  readonly settings: EngineSettings;
  readonly store: Store;
  readonly ended: EndedJobs;
  readonly news: StoreNews;
  /** By identifier; graphile-worker looks here before every fetch, so more may come. */
  readonly tasks: Readonly<Record<string, GraphileTask>>;
}

/**
 * graphile-worker's runner, which is replaced by another when it is in trouble. The old one ends the jobs it runs; those
 * that it cannot put down, because it lost its connection, are freed for the next one instead of locked for four hours.
 */
export class Worker {
  readonly #parts: WorkerParts;
  readonly #generations = new Set<Generation>();
  readonly #retiring = new InFlight();
  readonly #stopping = new AbortController();
  #started: Promise<void> | undefined;
  #kept: Promise<void> | undefined;

  constructor(parts: WorkerParts) {
    this.#parts = parts;
  }

  /** Ids that this process may hold locks under. */
  get ids(): string[] {
    return [...this.#generations].flatMap(({ workers }) => workers);
  }

  /** Starts once; rejects where the first start fails, and tries again when asked again. */
  start(): Promise<void> {
    this.#started ??= this.#startFirst();
    return this.#started;
  }

  /** Fetches nothing more. Resolves when no fetch is under way, or soon after `deadline` aborts. Never rejects. */
  async halt(deadline: AbortSignal): Promise<void> {
    void HOME.runInAsyncScope(() => this.stop());
    while (!deadline.aborted && [...this.#generations].some((generation) => generation.fetches))
      await pause(FETCH_POLL_MS);
  }

  /** Fetches nothing more. Resolves when what it ran has ended and nothing is held any more. Never rejects. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await quietly("starting graphile-worker", () => this.#started, undefined);
    await this.#kept;
  }

  async #startFirst(): Promise<void> {
    const { store, settings } = this.#parts;
    try {
      await store.open();
      if (settings.onlyWorker) await store.unlockAll();
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
      await this.#pause();
      if (!signal.aborted) next = await quietly("starting graphile-worker", () => this.#begin(), undefined);
    }
    return next;
  }

  async #begin(): Promise<Generation> {
    const { settings, tasks, news } = this.#parts;
    const generation = new Generation(news);
    this.#generations.add(generation);
    const start = (events: EventEmitter): Promise<GraphileRunner> =>
      untraced(() => settings.run({ ...runOptions(settings), events, taskList: tasks }));
    try {
      await asked(news, () => generation.start(start));
    } catch (error) {
      this.#generations.delete(generation);
      throw error;
    }
    return generation;
  }

  async #retire(generation: Generation): Promise<void> {
    await generation.stop();
    const unlock = (): Promise<boolean> => this.#parts.ended.unlock(generation.workers).then(() => true);
    while (!(await quietly("freeing what a stopped worker held", unlock, false))) {
      if (this.#stopping.signal.aborted) return;
      await this.#pause();
    }
    this.#generations.delete(generation);
  }

  // Waits between two tries, and no longer when it is told to stop.
  async #pause(): Promise<void> {
    const { signal } = this.#stopping;
    await pause(this.#parts.settings.pollInterval, undefined, { signal }).catch(() => {});
  }
}

/** One start of graphile-worker's runner, followed by the events it emits. */
class Generation {
  /** The ids under which it locks its jobs: its workers' (0.16), or their pool's (0.18). */
  readonly workers: string[] = [];
  /** Resolves when it should be replaced. */
  readonly troubled: Promise<void>;
  readonly #events = new EventEmitter();
  readonly #fetching = new Set<unknown>();
  #runner: GraphileRunner | undefined;
  /** It was told to stop, or is stopping by itself. */
  #halted = false;
  #running = 0;
  #onDrained: (() => void) | undefined;

  constructor(news: StoreNews) {
    const events = this.#events;
    const on = (names: readonly string[], listener: (event: GraphileEvent) => void): void => {
      for (const name of names) events.on(name, listener);
    };
    on(["worker:create"], ({ worker }) => this.workers.push(worker.workerId));
    on(["pool:create"], ({ workerPool }) => this.workers.push(workerPool.id));
    on(["pool:gracefulShutdown"], () => {
      this.#halted = true;
    });
    on(SILENCE, ({ error }) => tellFailure(news, error));
    on(ANSWER, () => news.storeBack());
    on(["worker:getJob:start"], ({ worker }) => this.#fetching.add(worker));
    on(FETCHED, ({ worker }) => this.#fetching.delete(worker));
    on(["job:start"], () => {
      this.#running += 1;
    });
    on(["job:complete", "worker:fatalError"], () => this.#ended());
    this.troubled = new Promise((resolve) => on(TROUBLE, () => resolve()));
  }

  /** Whether another job may be handed over. */
  get fetches(): boolean {
    return !this.#halted || this.#fetching.size > 0;
  }

  /** Starts it, once. */
  async start(run: (events: EventEmitter) => Promise<GraphileRunner>): Promise<void> {
    this.#runner = await run(this.#events);
    this.#runner.promise.catch((error: unknown) => debug("graphile-worker's runner ended", error));
  }

  /**
   * Fetches nothing more; resolves when what it runs has ended. The runner's `promise` does not tell that, because it may
   * never settle (https://github.com/graphile/worker/issues/592).
   */
  async stop(): Promise<void> {
    // a runner that is told to stop while it is stopping by itself closes its connections under the jobs it still runs
    if (this.#halted) await this.#drained();
    const runner = this.#runner;
    const stop = async (): Promise<unknown> => await runner?.stop();
    const stopped = stop();
    this.#halted = true;
    await stopped.catch((error: unknown) => debug("stopping graphile-worker", error));
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

function runOptions({ sharedOptions, concurrency, pollInterval }: EngineSettings): object {
  // the options were checked to be an object, and a preset in them is the application's own: graphile-worker checks it
  const { preset } = sharedOptions as { preset?: unknown };
  return {
    ...{ ...sharedOptions, concurrency, pollInterval },
    noHandleSignals: true,
    // instead of the crontab file of the folder this process runs in
    parsedCronItems: [],
    preset: { extends: preset === undefined ? [PRESET] : [PRESET, preset] },
  };
}
