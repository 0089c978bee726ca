import { NonRetryableError } from "../../core/errors.js";
import { debug, quietly } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import { InFlight } from "../../core/in-flight.js";
import { whenAborted } from "../../core/when-aborted.js";
import { within } from "../../core/within.js";
import type { EngineHost, Settlement, StoreAnswer } from "../engine.js";
import { inNextTurn } from "../turn.js";
import { untraced } from "../untraced.js";
import type { FetchedJob } from "./library.js";
import type { PgBossEngineSettings } from "./options.js";
import type { Store } from "./store.js";
import { deliveryOf, type StoredTask } from "./stored-task.js";

/** A look for tasks that has brought no answer for so long does not hold up the next one. */
const ANSWER_MS = 10_000;
/** After a sign of life that failed. */
const NEXT_BEAT_MS = 1_000;
/** So many milliseconds' worth of tasks are fetched beyond those for which there is room. */
const AHEAD_MS = 20;
/** At most so many times the concurrency. */
const MOST_AHEAD = 3;
/** At most so many times the concurrency, with those whose success is being stored. */
const MOST_HELD = 4;
/** So many milliseconds a success waits for those of tasks that are fetched and not started, to be stored with them. */
const PATIENCE_MS = 10;
/** A fetched task for which there is no room for so long is given back. */
const WAITING_MS = 200;

/** Fetches tasks as there is room for them, and gives them to the host: after an interval, or at once when nudged. */
export class Worker {
  /** Tasks fetched so far. */
  fetched = 0;
  /** Those of them that were given back without having been given to the host. */
  givenBack = 0;
  readonly #host: EngineHost;
  readonly #store: Store;
  readonly #settings: PgBossEngineSettings;
  /** Tasks that the host has. */
  readonly #held = new Set<StoredTask>();
  /** Those of them whose success is not yet on its way into the store. */
  readonly #running = new Set<StoredTask>();
  readonly #runs = new InFlight();
  /** Names that no task here has, and until when theirs are left to others. */
  readonly #foreign = new Map<string, number>();
  readonly #heartbeat: Heartbeat;
  #loop: Promise<void> | undefined;
  #look: Promise<void> | undefined;
  #stopped = false;
  #nudged = false;
  /** There may be more to run than there was room for. */
  #hungry = false;
  #wake: (() => void) | undefined;
  #makeRoom: (() => void) | undefined;
  /** Resolves when all that was fetched together has started, or soon. */
  #others: Promise<void> | undefined;
  /** How many tasks the last look has brought, and when, on performance.now()'s axis. */
  #last = { count: 0, at: 0 };

  constructor(host: EngineHost, store: Store, settings: PgBossEngineSettings) {
    this.#host = host;
    this.#store = store;
    this.#settings = settings;
    this.#heartbeat = new Heartbeat((jobs) => untraced(() => store.touch(jobs)));
  }

  /** Starts looking for tasks; does nothing when it has started or was stopped. */
  start(): void {
    if (this.#stopped) return;
    this.#loop ??= HOME.runInAsyncScope(() => this.#poll());
  }

  /** Looks now instead of after the interval. */
  nudge(): void {
    this.#nudged = true;
    this.#wake?.();
  }

  /** Resolves when the tasks that are being fetched right now have been given to the host. Never rejects. */
  async looked(): Promise<void> {
    await this.#look;
  }

  /** Fetches no more tasks; resolves when the last fetch has been {@link looked} at, or when `deadline` aborts. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopped = true;
    this.#wake?.();
    this.#makeRoom?.();
    await Promise.race([this.#loop, whenAborted(deadline)]);
  }

  /** Stops, and waits until `deadline` aborts for the ends that are being stored. */
  async close(deadline: AbortSignal): Promise<void> {
    await this.stop(deadline);
    await this.#runs.settled(deadline);
    this.#heartbeat.stop();
  }

  async #poll(): Promise<void> {
    while (!this.#stopped) {
      this.#nudged = false;
      this.#look = this.#fetch();
      await within(ANSWER_MS, this.#look, undefined);
      if (!this.#nudged && !this.#stopped) await this.#pause();
      // what else ends at this moment makes room for the same look
      await new Promise<void>(inNextTurn);
    }
  }

  async #fetch(): Promise<void> {
    const room = this.#room();
    this.#hungry = room <= 0;
    if (this.#hungry) return;
    const limit = room + this.#ahead();
    const look = (): Promise<StoredTask[]> => untraced(() => this.#store.fetch(limit, this.#foreignNames()));
    const tasks = await quietly("looking for tasks", look, []);
    this.fetched += tasks.length;
    this.#last = { count: tasks.length, at: performance.now() };
    this.#hungry = tasks.length === limit;
    await this.#handOverAll(tasks);
    this.#others = undefined;
    if (this.#hungry && this.#room() > 0) this.nudge();
  }

  // The next tasks start while the successes before them are being stored, unless these pile up.
  #room(): number {
    const { concurrency } = this.#settings;
    return Math.min(concurrency - this.#running.size, MOST_HELD * concurrency - this.#held.size);
  }

  // The fewer looks there are, the less a short task costs. Where one is still running that takes longer, the next ones
  // could have to wait for it, which others may have room for.
  #ahead(): number {
    const { count, at } = this.#last;
    if (count === 0 || this.#running.size > 0) return 0;
    const perMs = count / (performance.now() - at);
    return Math.min(MOST_AHEAD * this.#settings.concurrency, Math.floor(perMs * AHEAD_MS));
  }

  async #handOverAll(tasks: readonly StoredTask[]): Promise<void> {
    let started = (): void => {};
    if (tasks.length > this.#room()) {
      this.#others = within(PATIENCE_MS, new Promise<void>((resolve) => (started = resolve)), undefined);
    }
    const until = performance.now() + WAITING_MS;
    const handedOver: Promise<void>[] = [];
    for (const task of tasks) {
      while (this.#room() <= 0 && !this.#stopped && performance.now() < until) await this.#untilRoom(until);
      handedOver.push(this.#handOver(task));
    }
    started();
    await Promise.all(handedOver);
  }

  async #untilRoom(until: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, until - performance.now());
      this.#makeRoom = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    // what else ends at this moment makes room for more
    await new Promise<void>(inNextTurn);
  }

  // The host hears neither of a task whose last end was stored by half, nor of a job that names none, nor of one for
  // which there is no room, because those before it take longer, or an earlier look was answered late.
  async #handOver(task: StoredTask): Promise<void> {
    const { concurrency } = this.#settings;
    if (task.unsettled) {
      await this.#untilStored("settling a task again", () => this.#store.resettle(task));
    } else if (task.name === undefined) {
      const error = new NonRetryableError("what is stored names no task");
      await this.#untilStored("failing a job that names no task", () =>
        this.#store.settle(task, { outcome: "failure", error }),
      );
    } else if (this.#running.size >= concurrency) {
      this.givenBack += 1;
      await this.#untilStored("giving back a task", () => this.#store.settle(task, { outcome: "deferred", delay: 0 }));
    } else {
      void this.#runs.add(this.#run(task));
    }
  }

  async #untilStored(what: string, settle: () => Promise<StoreAnswer>): Promise<void> {
    await quietly(what, () => untraced(() => this.#store.untilAnswered(settle)), undefined);
  }

  async #run(task: StoredTask): Promise<void> {
    this.#held.add(task);
    this.#running.add(task);
    this.#heartbeat.add(task.job);
    await this.#host.run(deliveryOf(task, this.#host), (end) => this.#end(task, end));
    this.#heartbeat.delete(task.job);
    this.#held.delete(task);
    this.#gone(task);
  }

  #gone(task: StoredTask): void {
    this.#running.delete(task);
    this.#makeRoom?.();
    if (this.#hungry) this.nudge();
  }

  #end(task: StoredTask, end: Settlement): Promise<StoreAnswer> {
    if (end.outcome === "deferred") this.#leave(task, end.delay);
    // a job that is given back could be claimed here while that is stored by half
    if (end.outcome !== "success") return this.#store.settle(task, end);
    this.#gone(task);
    const store = (): Promise<StoreAnswer> => this.#store.settle(task, end);
    return this.#others === undefined ? store() : this.#others.then(store);
  }

  // Otherwise this process would claim all that waits of a name which only others know, over and over.
  #leave({ name }: StoredTask, delay: number): void {
    if (name !== undefined && delay > 0) this.#foreign.set(name, Date.now() + delay);
  }

  #foreignNames(): string[] {
    for (const [name, until] of this.#foreign) if (until <= Date.now()) this.#foreign.delete(name);
    return [...this.#foreign.keys()];
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#settings.pollingIntervalSeconds * 1000);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Tells pg-boss of the jobs that are here, running or being settled, that they are, as often as each job asks for it. */
class Heartbeat {
  readonly #touch: (jobs: readonly FetchedJob[]) => Promise<void>;
  /** By the seconds of silence after which pg-boss takes them for lost. */
  readonly #hearts = new Map<number, { readonly jobs: Set<FetchedJob>; timer: NodeJS.Timeout | undefined }>();

  constructor(touch: (jobs: readonly FetchedJob[]) => Promise<void>) {
    this.#touch = touch;
  }

  add(job: FetchedJob): void {
    const { heartbeatSeconds } = job;
    // other producers' jobs may have none
    if (typeof heartbeatSeconds !== "number") return;
    const heart = this.#hearts.get(heartbeatSeconds);
    if (heart !== undefined) {
      heart.jobs.add(job);
      return;
    }
    this.#hearts.set(heartbeatSeconds, { jobs: new Set([job]), timer: undefined });
    this.#beatIn(thirdOf(heartbeatSeconds), heartbeatSeconds);
  }

  delete(job: FetchedJob): void {
    const seconds = job.heartbeatSeconds ?? 0;
    const heart = this.#hearts.get(seconds);
    heart?.jobs.delete(job);
    if (heart?.jobs.size !== 0) return;
    clearTimeout(heart.timer);
    this.#hearts.delete(seconds);
  }

  stop(): void {
    for (const { timer } of this.#hearts.values()) clearTimeout(timer);
    this.#hearts.clear();
  }

  #beatIn(ms: number, seconds: number): void {
    const heart = this.#hearts.get(seconds);
    if (heart === undefined) return;
    clearTimeout(heart.timer);
    heart.timer = HOME.runInAsyncScope(() => setTimeout(() => void this.#beat([...heart.jobs], seconds), ms));
  }

  async #beat(jobs: readonly FetchedJob[], seconds: number): Promise<void> {
    this.#beatIn(thirdOf(seconds), seconds);
    try {
      await this.#touch(jobs);
    } catch (error) {
      debug("a sign of life was lost", error);
      this.#beatIn(NEXT_BEAT_MS, seconds);
    }
  }
}

// two of them may be lost before a job is taken for lost
function thirdOf(seconds: number): number {
  return (seconds * 1000) / 3;
}
