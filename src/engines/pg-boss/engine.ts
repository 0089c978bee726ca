import { setTimeout as pause } from "node:timers/promises";
import type { Delivery, EngineHost, OpenEngine, TaskEngine, TaskMessage } from "../engine.js";
import { copyAsJson } from "../json.js";
import { overStore } from "../over-store.js";
import { untraced } from "../untraced.js";
import { engineSettings, type PgBossEngineOptions, type PgBossEngineSettings } from "./options.js";
import { Store } from "./store.js";
import { deliveryOf } from "./stored-task.js";
import { Worker } from "./worker.js";

/** For so long a shutdown waits for tasks that are still being given back. */
const CLOSING_MS = 5_000;

/**
 * Stores tasks in PostgreSQL through pg-boss, or embedded through PGlite: they outlive the process, and any process
 * with such an engine on the same queue may run them. An attempt whose process dies runs again under its number.
 *
 * @throws TaskConfigError for an option out of range, or a pg-boss before 12.25.
 */
export function pgBossEngine(options: PgBossEngineOptions): TaskEngine {
  const settings = engineSettings(options);
  const { queue: destination, maxLost } = settings;
  const capabilities = Object.freeze({ durable: true, granularity: settings.pollingIntervalSeconds * 1000 });
  const open = (host: EngineHost): OpenEngine => overStore(host, (own) => new PgBossQueue(own, settings));
  return { name: "pg-boss", system: "pg-boss", destination, capabilities, maxLost, copyArgs: copyAsJson, open };
}

class PgBossQueue implements OpenEngine {
  readonly #host: EngineHost;
  readonly #store: Store;
  readonly #worker: Worker;
  /** Milliseconds. */
  readonly #interval: number;
  #closed = false;

  constructor(host: EngineHost, settings: PgBossEngineSettings) {
    this.#host = host;
    this.#store = new Store(host, settings);
    this.#worker = new Worker(host, this.#store, settings);
    this.#interval = settings.pollingIntervalSeconds * 1000;
  }

  connect(): Promise<void> | undefined {
    return this.#store.connect();
  }

  async enqueue(message: TaskMessage): Promise<boolean> {
    await this.#store.connect();
    const isStored = await this.#store.add(message);
    this.#worker.nudge();
    return isStored;
  }

  async work(names: readonly string[]): Promise<void> {
    this.#store.serve(names);
    await this.#store.start();
    this.#worker.start();
  }

  async take(taskId: string): Promise<Delivery | undefined> {
    await this.#store.start();
    const { givenBack } = this.#worker;
    const task = await this.#store.take(taskId);
    if (task !== undefined) return deliveryOf(task, this.#host);
    await this.#worker.looked();
    // one that was on its way may wait again
    return this.#worker.givenBack === givenBack ? undefined : await this.take(taskId);
  }

  // Looks twice, an interval apart: a task that another process is just giving back is in the store again by then.
  async waiting(): Promise<number> {
    const waiting = await this.#countWaiting();
    if (waiting > 0) return waiting;
    await pause(this.#interval);
    return this.#closed ? 0 : await this.#countWaiting();
  }

  async quiesce(deadline: AbortSignal): Promise<readonly Delivery[]> {
    await this.#worker.stop(deadline);
    return [];
  }

  async close(): Promise<void> {
    await this.#worker.close(AbortSignal.timeout(CLOSING_MS));
    this.#closed = true;
    await this.#store.stop();
  }

  // A task that was fetched meanwhile may be in the store again, where the worker did not give it to the host.
  async #countWaiting(): Promise<number> {
    await this.#worker.looked();
    const { fetched } = this.#worker;
    await this.#store.start();
    const queued = await untraced(() => this.#store.countQueued());
    await this.#worker.looked();
    return this.#worker.fetched === fetched ? queued : 1;
  }
}
