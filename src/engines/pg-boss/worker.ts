import { NonRetryableError } from "../../core/errors.js";
import { quietly } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import { InFlight } from "../../core/in-flight.js";
import { whenAborted } from "../../core/when-aborted.js";
import type { EngineHost, Settlement } from "../engine.js";
import { untraced } from "../untraced.js";
import type { PgBossEngineSettings } from "./options.js";
import type { Store } from "./store.js";
import { deliveryOf, type StoredTask } from "./stored-task.js";

/** Fetches tasks as there is room for them, and gives them to the host: after an interval, or at once when nudged. */
export class Worker {
  /** Tasks fetched so far. */
  fetched = 0;
  readonly #host: EngineHost;
  readonly #store: Store;
  readonly #settings: PgBossEngineSettings;
  /** Tasks that the host has. Their ends may still be on their way into the store. */
  readonly #running = new Set<StoredTask>();
  readonly #runs = new InFlight();
  /** Names that no task here has, and until when theirs are left to others. */
  readonly #foreign = new Map<string, number>();
  #heartbeat: NodeJS.Timeout | undefined;
  #loop: Promise<void> | undefined;
  #look: Promise<void> | undefined;
  #stopped = false;
  #nudged = false;
  /** There may be more to run than there was room for. */
  #hungry = false;
  #wake: (() => void) | undefined;

  constructor(host: EngineHost, store: Store, settings: PgBossEngineSettings) {
    this.#host = host;
    this.#store = store;
    this.#settings = settings;
  }

  /** Starts looking for tasks; does nothing when it has started or was stopped. */
  start(): void {
    if (this.#stopped) return;
    // two of them may be lost before an attempt is taken for lost
    const third = (this.#settings.heartbeatSeconds * 1000) / 3;
    this.#heartbeat ??= HOME.runInAsyncScope(() => setInterval(() => this.#touch(), third));
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
    await Promise.race([this.#loop, whenAborted(deadline)]);
  }

  /** Stops, and waits until `deadline` aborts for the ends that are being stored. */
  async close(deadline: AbortSignal): Promise<void> {
    await this.stop(deadline);
    await this.#runs.settled(deadline);
    clearInterval(this.#heartbeat);
  }

  async #poll(): Promise<void> {
    while (!this.#stopped) {
      this.#nudged = false;
      this.#look = this.#fetch();
      await this.#look;
      if (!this.#nudged && !this.#stopped) await this.#pause();
    }
  }

  async #fetch(): Promise<void> {
    const { concurrency } = this.#settings;
    const room = concurrency - this.#running.size;
    this.#hungry = room <= 0;
    if (this.#hungry) return;
    try {
      const tasks = await untraced(() => this.#store.fetch(room, this.#foreignNames()));
      this.fetched += tasks.length;
      this.#hungry = tasks.length === room;
      await Promise.all(tasks.map((task) => this.#handOver(task)));
    } catch (error) {
      // a store in which no task can be looked for is not there, whatever it says to that
      this.#host.storeLost(error);
    }
    if (this.#hungry && this.#running.size < concurrency) this.nudge();
  }

  // The host hears neither of a task whose last end was stored by half, nor of a job that names none.
  async #handOver(task: StoredTask): Promise<void> {
    if (task.unsettled) {
      await quietly("settling a task again", () => untraced(() => this.#store.resettle(task)), undefined);
    } else if (task.name === undefined) {
      const error = new NonRetryableError("what is stored names no task");
      const fail = (): Promise<void> => this.#store.settle(task, { outcome: "failure", error });
      await quietly("failing a job that names no task", fail, undefined);
    } else {
      void this.#runs.add(this.#run(task));
    }
  }

  async #run(task: StoredTask): Promise<void> {
    this.#running.add(task);
    await this.#host.run(deliveryOf(task, this.#host), (end) => this.#end(task, end));
    this.#running.delete(task);
    if (this.#hungry) this.nudge();
  }

  // Where this fails, pg-boss delivers the task again when the claim has expired.
  async #end(task: StoredTask, end: Settlement): Promise<void> {
    if (end.outcome === "deferred") this.#leave(task, end.delay);
    await this.#store.settle(task, end);
  }

  // Otherwise this process would claim all that waits of a name which only others know, over and over.
  #leave({ name }: StoredTask, delay: number): void {
    if (name !== undefined && delay > 0) this.#foreign.set(name, Date.now() + delay);
  }

  #foreignNames(): string[] {
    for (const [name, until] of this.#foreign) if (until <= Date.now()) this.#foreign.delete(name);
    return [...this.#foreign.keys()];
  }

  #touch(): void {
    for (const { job } of this.#running) {
      void quietly("touching a job", () => untraced(() => this.#store.touch(job)), undefined);
    }
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
