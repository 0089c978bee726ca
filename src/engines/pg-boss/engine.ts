import { setTimeout as pause } from "node:timers/promises";
import { TaskConfigError } from "../../core/errors.js";
import { quietly } from "../../core/guard.js";
import type { Bystanders, EngineCapabilities, EngineHost, TaskEngine, TaskMessage, UnfinishedTask } from "../engine.js";
import { untraced } from "../untraced.js";
import { Consumer } from "./consumer.js";
import { engineSettings, type PgBossEngineOptions, type PgBossEngineSettings } from "./options.js";
import { deliveryOf } from "./stored-task.js";
import { TaskQueue } from "./task-queue.js";

const CLOSING_MS = 5_000;

/** What there is once a manager has opened the engine. */
interface Opened {
  readonly host: EngineHost;
  readonly queue: TaskQueue;
  readonly consumer: Consumer;
}

/**
 * Stores tasks in PostgreSQL through pg-boss, or embedded through PGlite: they outlive the process, and any process
 * with such an engine on the same queue may run them. An attempt whose process dies runs again under its number.
 *
 * @throws TaskConfigError for an option out of range, or a pg-boss before 12.25.
 */
export function pgBossEngine(options: PgBossEngineOptions): TaskEngine {
  return new PgBossEngine(engineSettings(options));
}

class PgBossEngine implements TaskEngine {
  readonly name = "pg-boss";
  readonly system = "pg-boss";
  readonly destination: string;
  readonly capabilities: EngineCapabilities;
  readonly #settings: PgBossEngineSettings;
  #opened: Opened | undefined;
  #closed = false;

  constructor(settings: PgBossEngineSettings) {
    this.#settings = settings;
    this.destination = settings.queue;
    this.capabilities = Object.freeze({ durable: true, granularity: settings.pollingIntervalSeconds * 1000 });
  }

  open(host: EngineHost): void {
    if (this.#opened !== undefined) throw new TaskConfigError("engine: this engine belongs to another TaskManager");
    const queue = new TaskQueue(this.#settings, host);
    this.#opened = { host, queue, consumer: new Consumer(queue, host, this.#settings) };
  }

  async enqueue(message: TaskMessage): Promise<boolean> {
    const { queue, consumer } = this.#use();
    await queue.start();
    const stored = await queue.store(message);
    consumer.nudge();
    return stored;
  }

  async work(names: readonly string[]): Promise<void> {
    const { queue, consumer } = this.#use();
    queue.serve(names);
    await queue.start();
    consumer.start();
  }

  async cancel(taskId: string): Promise<boolean> {
    const { host, queue, consumer } = this.#use();
    if (await consumer.cancel(taskId)) return true;
    await queue.start();
    const task = await queue.cancel(taskId);
    if (task === undefined) {
      await consumer.started();
      return false;
    }
    await host.drop(deliveryOf(task, host), "cancelled");
    return true;
  }

  // Twice, an interval apart: what another process is just giving back shows again by then.
  async idle(bystanders: Bystanders): Promise<void> {
    for (let times = 0; times < 2 && !this.#closed; ) {
      times = (await this.#isIdle(bystanders)) ? times + 1 : 0;
      if (times < 2) await pause(this.capabilities.granularity);
    }
  }

  async quiesce(deadline: AbortSignal, bystanders: Bystanders): Promise<readonly UnfinishedTask[]> {
    await this.#use().consumer.halt(deadline, bystanders);
    return [];
  }

  async close(): Promise<void> {
    const { queue, consumer } = this.#use();
    await consumer.halt(AbortSignal.timeout(CLOSING_MS));
    consumer.close();
    this.#closed = true;
    await queue.stop();
  }

  // Nothing in the store, and nothing taken out of it meanwhile.
  async #isIdle(bystanders: Bystanders): Promise<boolean> {
    const { queue, consumer } = this.#use();
    await consumer.inFlight.settled(undefined, bystanders);
    const before = consumer.taken;
    const look = async (): Promise<boolean> => {
      await queue.start();
      return await queue.isEmpty();
    };
    const empty = await quietly("looking for tasks", () => untraced(look), false);
    return empty && consumer.inFlight.isSettled(bystanders) && consumer.taken === before;
  }

  #use(): Opened {
    if (this.#opened === undefined) throw new TaskConfigError("engine: no TaskManager has opened it");
    return this.#opened;
  }
}
