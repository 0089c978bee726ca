import { EventEmitter } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { debug } from "../../core/guard.js";
import { within } from "../../core/within.js";
import type { EngineHost } from "../engine.js";
import type { GraphileEvent, GraphilePool, GraphileRunner } from "./library.js";

/**
 * graphile-worker emits one of these when it loses a worker (0.16) or stops altogether (0.18), over one query that failed.
 * It does not recover by itself (https://github.com/graphile/worker/issues/592 and 636).
 */
const TROUBLE = ["worker:fatalError", "worker:getJob:error", "pool:fatalError", "pool:gracefulShutdown"];
/** Events that tell that the database has answered. That it did not is told by who tries to start another runner. */
const ANSWER = ["worker:getJob:empty", "job:start", "pool:listen:success"];
/** A worker that emits one of these has the answer to a fetch; it hands the job over, if it got one, in the same turn. */
const FETCHED = ["worker:getJob:empty", "worker:getJob:error", "job:start"];
/** Healthy connections close within milliseconds; those that answer no more are not waited for any longer. */
const CLOSED_WITHIN_MS = 5_000;
/** Between two tries: at first, and at most. */
const FIRST_MS = 100;
const LONGEST_MS = 3_000;
/** After so long without a pause, what was in trouble is taken to have recovered. */
const QUIET_MS = 10_000;
/** So many of the jobs that have ended are known: more than can be on their way to be completed. */
const MOST_ENDED = 1_000;

/** One start of graphile-worker's runner, followed by the events it emits. */
export class Generation {
  /** The ids under which it locks its jobs: its workers' (0.16), or their pool's (0.18). */
  readonly workers: string[] = [];
  /** Ids of the last jobs whose tasks have ended, most of which graphile-worker has completed by now. In no order. */
  readonly ended: string[] = [];
  /** Resolves when it should be replaced. */
  readonly troubled: Promise<void>;
  /** It runs nothing any more. */
  isOver = false;
  readonly #events = new EventEmitter();
  readonly #fetching = new Set<unknown>();
  #starting: Promise<GraphileRunner> | undefined;
  /** It was told to stop, or is stopping by itself. */
  #halted = false;
  #running = 0;
  #oldest = 0;
  #onDrained: (() => void) | undefined;

  constructor(host: Pick<EngineHost, "storeBack">) {
    const events = this.#events;
    const on = (names: readonly string[], listener: (event: GraphileEvent) => void): void => {
      for (const name of names) events.on(name, listener);
    };
    on(["worker:create"], ({ worker }) => this.workers.push(worker.workerId));
    on(["pool:create"], ({ workerPool }) => this.workers.push(workerPool.id));
    on(["pool:gracefulShutdown"], () => {
      this.#halted = true;
    });
    on(ANSWER, () => host.storeBack());
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

  /** Keeps that the task of a job has ended, in place of what was kept longest. */
  keepEnded(job: string): void {
    this.ended[this.#oldest] = job;
    this.#oldest = (this.#oldest + 1) % MOST_ENDED;
  }

  /** Starts it, once. */
  async start(run: (events: EventEmitter) => Promise<GraphileRunner>): Promise<void> {
    this.#starting = run(this.#events);
    const runner = await this.#starting;
    runner.promise.catch((error: unknown) => debug("graphile-worker's runner ended", error));
  }

  /**
   * Fetches nothing more; resolves when what it runs has ended. The runner's `promise` does not tell that, because it may
   * never settle (https://github.com/graphile/worker/issues/592), nor does its `stop()` where a connection hangs.
   */
  async stop(): Promise<void> {
    const runner = await this.#starting?.catch(() => undefined);
    // a runner that is told to stop while it is stopping by itself closes its connections under the jobs it still runs
    if (this.#halted) await this.#drained();
    const stop = async (): Promise<unknown> => await runner?.stop();
    const stopped = stop();
    this.#halted = true;
    stopped.catch((error: unknown) => debug("stopping graphile-worker", error));
    await this.#drained();
    await within(CLOSED_WITHIN_MS, stopped, undefined);
    // a fetch that was under way may have brought another job
    await this.#drained();
    this.isOver = true;
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

/** Pauses between tries, each twice as long as the one before; after a quiet time they are short again. */
export class Backoff {
  #next = FIRST_MS;
  #last = 0;

  /** Waits for its time, and no longer when `signal` aborts. Never rejects. */
  async pause(signal: AbortSignal): Promise<void> {
    if (performance.now() - this.#last > QUIET_MS) this.#next = FIRST_MS;
    const ms = this.#next;
    this.#next = Math.min(ms * 2, LONGEST_MS);
    await pause(ms, undefined, { signal }).catch(() => {});
    this.#last = performance.now();
  }
}

type Release = (error?: unknown) => void;
type Borrow = (error: unknown, client: unknown, release: Release | undefined) => void;

interface LendingPool {
  connect(borrow?: Borrow): unknown;
}

/**
 * An application's pool as graphile-worker's runner gets it: what is released twice is released once. Up to 0.18 a runner
 * that is stopped before its LISTEN is answered does so when that connection then breaks, and gives the pool's refusal
 * to nobody, so that it would end the process.
 */
export function runnerPool(pool: GraphilePool): GraphilePool {
  const lender: LendingPool = pool;
  const connect = (borrow?: Borrow): unknown => {
    if (borrow === undefined) return lender.connect();
    return lender.connect((error, client, release) => borrow(error, client, once(release)));
  };
  return new Proxy(pool, {
    get(_, key) {
      if (key === "connect") return connect;
      const value: unknown = Reflect.get(pool, key);
      return typeof value === "function" ? value.bind(pool) : value;
    },
  });
}

function once(release: Release | undefined): Release {
  let left = release;
  return (error) => {
    const call = left;
    left = undefined;
    call?.(error);
  };
}
