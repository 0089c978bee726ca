import { quietly } from "../../core/guard.js";
import type { Delivery, EngineCapabilities, EngineHost, OpenEngine, TaskEngine, TaskMessage } from "../engine.js";
import { copyAsJson } from "../json.js";
import { overStore } from "../over-store.js";
import { serverOf } from "../server.js";
import { type BullmqEngineOptions, type BullmqEngineSettings, engineSettings } from "./options.js";
import { ACTIVE } from "./removals.js";
import { Store } from "./store.js";
import { BULLMQ, deliveryOf, jobIdsOf } from "./stored-task.js";
import { TaskWorker } from "./worker.js";

const CAPABILITIES: EngineCapabilities = Object.freeze({ durable: true, granularity: 100 });

/**
 * Keeps tasks in a BullMQ queue of its own, for any process with the same queue to run. A failed attempt is a failed
 * attempt of the job, with its exact delay; a task that gave up is a failed job. A crash is no attempt: the same one
 * is run again when the job's lock has expired, until `maxLost` runs of it were lost. Needs no running server to be made,
 * and connects when first used.
 *
 * @throws TaskConfigError for an option that is missing or out of range.
 */
export function bullmqEngine(options: BullmqEngineOptions): TaskEngine {
  const settings = engineSettings(options);
  const open = (host: EngineHost): OpenEngine => overStore(host, (own) => new BullmqTasks(settings, own));
  return {
    name: BULLMQ,
    system: BULLMQ,
    destination: settings.queue,
    server: serverOf(options.connection),
    capabilities: CAPABILITIES,
    maxLost: settings.maxLost,
    copyArgs: copyAsJson,
    open,
  };
}

class BullmqTasks implements OpenEngine {
  readonly #settings: BullmqEngineSettings;
  readonly #host: EngineHost;
  readonly #store: Store;
  #worker: TaskWorker | undefined;

  constructor(settings: BullmqEngineSettings, host: EngineHost) {
    this.#settings = settings;
    this.#host = host;
    this.#store = new Store(settings, host);
  }

  connect(): void | Promise<void> {
    return this.#store.connect();
  }

  enqueue(message: TaskMessage): Promise<boolean> {
    return this.#store.add(message);
  }

  async work(): Promise<void> {
    this.#worker ??= new TaskWorker(this.#settings, this.#host, this.#store);
    const worker = this.#worker;
    try {
      await worker.started();
    } catch (error) {
      // such as a schema that is missing: this worker will never run anything, the next one may
      if (this.#worker === worker) this.#worker = undefined;
      await quietly("closing the BullMQ worker", () => worker.close(false), undefined);
      throw error;
    }
  }

  async take(taskId: string): Promise<Delivery | undefined> {
    for (const id of jobIdsOf(taskId)) {
      const delivery = await this.#take(id);
      if (delivery !== undefined) return delivery;
    }
    return undefined;
  }

  async waiting(): Promise<number> {
    const live = await this.#store.countLive();
    return Math.max(0, live - (this.#worker?.held ?? 0));
  }

  async quiesce(): Promise<readonly Delivery[]> {
    this.#worker?.stop();
    return [];
  }

  async close(): Promise<void> {
    const open = this.#worker !== undefined || this.#store.isOpen;
    const graceful = open && (await this.#store.answers());
    await this.#worker?.close(graceful);
    await this.#store.close(graceful);
  }

  // A job that this process has, or that any worker has, is no longer here to be taken: it comes to the host first.
  async #take(id: string): Promise<Delivery | undefined> {
    const found = this.#worker?.has(id) ? ACTIVE : await this.#store.removals.remove(id);
    if (found === ACTIVE) await this.#worker?.arrival(id);
    else if (found !== undefined) return deliveryOf(found, this.#host, this.#settings.mostAttempts);
    return undefined;
  }
}
