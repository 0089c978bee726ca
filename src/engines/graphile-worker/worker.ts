import type { EventEmitter } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { debug, quietly, warn } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import { InFlight } from "../../core/in-flight.js";
import { whenAborted } from "../../core/when-aborted.js";
import type { EngineHost } from "../engine.js";
import type { StoreLink } from "../link.js";
import { untraced } from "../untraced.js";
import { Backoff, Generation, runnerPool } from "./generation.js";
import { type GraphileJob, type GraphileRunner, type GraphileTask, ownLists } from "./library.js";
import type { EngineSettings } from "./options.js";
import type { JobEnd } from "./settle.js";
import type { Connection, Store } from "./store.js";

const FETCH_POLL_MS = 10;
/** No job has this id. */
const NO_JOB = "0";

/**
 * Without these, graphile-worker 0.18 gives the promise that a job is completed or failed to nobody, and its rejection
 * ends the process. No issue of it is known; they may go when it awaits that promise, as 0.16 does.
 */
const PRESET = { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } };

/** The parts that a worker works with. */
export interface WorkerParts {
  readonly settings: EngineSettings;
  readonly connection: Connection;
  readonly store: Store;
  readonly link: StoreLink;
  readonly host: Pick<EngineHost, "storeBack">;
  /** By identifier; graphile-worker looks here before every fetch, so more may come. */
  readonly tasks: Readonly<Record<string, GraphileTask>>;
}

/**
 * graphile-worker's runner, which is replaced by another when it is in trouble. The old one ends the jobs it runs; those
 * that it cannot put down, because it lost its connection, are put down or freed from here, instead of locked for four
 * hours.
 */
export class Worker {
  readonly #parts: WorkerParts;
  readonly #generations = new Set<Generation>();
  /** Those of them that have been replaced, and may still hold jobs. */
  readonly #retired = new Set<Generation>();
  readonly #retiring = new InFlight();
  readonly #stopping = new AbortController();
  readonly #backoff = new Backoff();
  #freed: Promise<void> = Promise.resolve();
  #started: Promise<void> | undefined;
  #kept: Promise<void> | undefined;

  constructor(parts: WorkerParts) {
    this.#parts = parts;
    ownLists.add(parts.tasks);
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

  /**
   * Called when graphile-worker gets a job back whose attempt has ended. Throws the error that it has to fail the job
   * with, and returns where it has to complete it.
   */
  putDown(job: GraphileJob, end: JobEnd | undefined): void {
    if (end === undefined) throw new Error("the end of the attempt is not known");
    if (end.job === "fail") throw new Error(end.reason);
    // graphile-worker completes a job by its id alone, whoever has locked it by now
    if (end.job === "lost") Object.assign(job, { id: NO_JOB });
    else this.#generationOf(job)?.keepEnded(String(job.id));
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

  #generationOf({ locked_by: worker }: GraphileJob): Generation | undefined {
    return [...this.#generations].find(({ workers }) => worker !== null && workers.includes(worker));
  }

  async #startFirst(): Promise<void> {
    const { connection, store, settings } = this.#parts;
    try {
      await connection.open();
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
      this.#retire(current);
      current = next;
    }
    await this.#retiring.settled();
  }

  async #beginAgain(): Promise<Generation | undefined> {
    const { signal } = this.#stopping;
    let next: Generation | undefined;
    while (next === undefined && !signal.aborted) {
      await this.#backoff.pause(signal);
      // where not even a lock can be freed, no worker can work
      await this.#free();
      if (!signal.aborted) next = await quietly("starting graphile-worker", () => this.#begin(), undefined);
    }
    return next;
  }

  async #begin(): Promise<Generation> {
    const { settings, tasks, host, link } = this.#parts;
    const generation = new Generation(host);
    this.#generations.add(generation);
    const start = (events: EventEmitter): Promise<GraphileRunner> =>
      untraced(() => settings.run({ ...runOptions(settings), events, taskList: tasks }));
    try {
      await link.ask(() => generation.start(start));
    } catch (error) {
      // it may start when nobody waits for it any more
      this.#retire(generation);
      throw error;
    }
    return generation;
  }

  #retire(generation: Generation): void {
    this.#retired.add(generation);
    void this.#retiring.add(HOME.runInAsyncScope(() => this.#end(generation)));
  }

  // What has ended does not wait for what still runs.
  async #end(generation: Generation): Promise<void> {
    const freed = this.#free();
    await generation.stop();
    await freed;
    await this.#free();
  }

  /** Frees what retired generations hold, in one loop however many ask for it. Never rejects. */
  #free(): Promise<void> {
    const free = (): Promise<void> => untraced(() => this.#freeRetired());
    this.#freed = this.#freed.then(free);
    return this.#freed;
  }

  async #freeRetired(): Promise<void> {
    const { signal } = this.#stopping;
    const backoff = new Backoff();
    for (const generation of this.#retired) {
      const { isOver } = generation;
      for (let tell = warn; !(await this.#putAway(generation, tell)); tell = debug) {
        if (signal.aborted) return;
        await backoff.pause(signal);
      }
      if (!isOver) continue;
      this.#retired.delete(generation);
      this.#generations.delete(generation);
    }
  }

  // False where it has to be tried again.
  async #putAway({ workers, ended, isOver }: Generation, tell: typeof warn): Promise<boolean> {
    const { store } = this.#parts;
    try {
      if (workers.length > 0) await (isOver ? store.free(workers, ended) : store.complete(workers, ended));
      return true;
    } catch (error) {
      tell("what a stopped worker held could not be freed yet", error);
      return false;
    }
  }
}

function runOptions({ sharedOptions, pgPool, concurrency, pollInterval }: EngineSettings): object {
  // the options were checked to be an object, and a preset in them is the application's own: graphile-worker checks it
  const { preset } = sharedOptions as { preset?: unknown };
  return {
    ...{ ...sharedOptions, concurrency, pollInterval },
    ...(pgPool && { pgPool: runnerPool(pgPool) }),
    noHandleSignals: true,
    // instead of the crontab file of the folder this process runs in
    parsedCronItems: [],
    preset: { extends: preset === undefined ? [PRESET] : [PRESET, preset] },
  };
}
