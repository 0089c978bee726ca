import { setTimeout as wait } from "node:timers/promises";
import { TaskConfigError } from "../../core/errors.js";
import { quietly } from "../../core/guard.js";
import type { Bystanders, EngineCapabilities, EngineHost, TaskEngine, TaskMessage, UnfinishedTask } from "../engine.js";
import { HOME } from "../home.js";
import { InFlight } from "../in-flight.js";
import { Consumer } from "./consumer.js";
import { BULLMQ, type BullmqJob } from "./job.js";
import { jobIdsOf } from "./job-id.js";
import { type BullmqEngineOptions, type BullmqEngineSettings, engineSettings } from "./options.js";
import { Store } from "./store.js";
import { deliveryOf } from "./stored-task.js";

const IDLE_POLL_MS = 50;
const OUTAGE_POLL_MS = 1_000;
const CAPABILITIES: EngineCapabilities = Object.freeze({ durable: true, granularity: 100 });

/**
 * Keeps tasks in a BullMQ queue of its own, for any process with the same queue to run. A failed attempt is a failed
 * attempt of the job, with its exact delay; a task that gave up is a failed job. A crash is no attempt: the same one
 * is run again when the job's lock has expired. Needs no running server to be made, and connects when first used;
 * while the server is gone, `addTask` waits for it as BullMQ's connection does.
 *
 * @throws TaskConfigError for an option that is missing or out of range.
 */
export function bullmqEngine(options: BullmqEngineOptions): TaskEngine {
  return new BullmqEngine(engineSettings(options));
}

class BullmqEngine implements TaskEngine {
  readonly name = BULLMQ;
  readonly system = BULLMQ;
  readonly destination: string;
  readonly capabilities = CAPABILITIES;
  readonly #settings: BullmqEngineSettings;
  readonly #store: Store;
  readonly #inFlight = new InFlight();
  #host: EngineHost | undefined;
  #consumer: Consumer | undefined;
  #stopped = false;

  constructor(settings: BullmqEngineSettings) {
    this.destination = settings.queue;
    this.#settings = settings;
    this.#store = new Store(settings);
  }

  open(host: EngineHost): void {
    if (this.#host !== undefined) throw new TaskConfigError("engine: this engine belongs to another TaskManager");
    this.#host = host;
    this.#store.open(host);
  }

  async enqueue(message: TaskMessage): Promise<boolean> {
    return await this.#store.add(message);
  }

  async work(): Promise<void> {
    if (this.#host === undefined || this.#stopped) return;
    this.#consumer ??= new Consumer(this.#settings, this.#host, this.#inFlight, this.#store.outages);
    const consumer = this.#consumer;
    try {
      await consumer.started();
    } catch (error) {
      // such as a schema that is missing: this worker will never run anything, the next one may
      if (this.#consumer === consumer) this.#consumer = undefined;
      await quietly("closing the BullMQ worker", () => consumer.close(false), undefined);
      throw error;
    }
  }

  async cancel(taskId: string): Promise<boolean> {
    for (const id of jobIdsOf(taskId)) if (await this.#cancel(id)) return true;
    return false;
  }

  async idle(bystanders: Bystanders): Promise<void> {
    for (;;) {
      await this.#inFlight.settled(undefined, bystanders);
      if (this.#store.isClosed) return;
      const live = await quietly("counting the tasks in BullMQ", () => this.#store.countLive(), undefined);
      if (live !== undefined && live <= bystanders() && this.#inFlight.isSettled(bystanders)) return;
      await wait(live === undefined ? OUTAGE_POLL_MS : IDLE_POLL_MS);
    }
  }

  async quiesce(deadline: AbortSignal, bystanders: Bystanders): Promise<readonly UnfinishedTask[]> {
    this.#stopped = true;
    this.#consumer?.stop();
    await this.#inFlight.settled(deadline, bystanders);
    return [];
  }

  async close(): Promise<void> {
    const open = this.#consumer !== undefined || this.#store.isOpen;
    const graceful = open && (await this.#store.answers());
    await this.#consumer?.close(graceful);
    await this.#store.close(graceful);
  }

  async #cancel(id: string): Promise<boolean> {
    const host = this.#host;
    if (host === undefined) return false;
    if (await this.#consumer?.cancel(id)) return true;
    const remove = (): Promise<BullmqJob | undefined> => this.#store.remove(id);
    const job = await (this.#consumer?.takeAway(id, remove) ?? remove());
    if (job === undefined) return false;
    const delivery = deliveryOf(job, host, this.#settings.mostAttempts);
    void this.#inFlight.add(HOME.runInAsyncScope(() => host.drop(delivery, "cancelled")));
    return true;
  }
}
