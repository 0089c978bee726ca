import { addressee } from "../../core/carrier.js";
import { warn } from "../../core/guard.js";
import { type AddressedJob, type CarriedData, isAddressedTo, takeApart } from "./carried-data.js";

/** Between two looks at what the queue's schedules are, as strange data asks for one with each job. */
const PAUSE_MS = 1_000;

/** The part of a `PgBoss` instance that knows its schedules. */
export interface Scheduler {
  getSchedules?(name: string): Promise<readonly { readonly data?: unknown }[]>;
}

/**
 * Tells a queue's own carriers from what looks like one: data may be the body of a request that a service passed on.
 * All jobs of a schedule bear the carrier of the schedule, which names none of them.
 */
export class Carriers {
  readonly #boss: Scheduler;
  readonly #queue: string;
  #scheduled: ReadonlySet<string | undefined> = new Set();
  #lookedAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> = Promise.resolve();
  #told = false;

  constructor(boss: Scheduler, queue: string) {
    this.#boss = boss;
    this.#queue = queue;
  }

  /**
   * Takes a job's data and its carrier apart; what only looks like a carrier is data. A promise only where the schedules
   * have to be asked for; rejects when pg-boss does.
   */
  read(job: AddressedJob & { readonly data: unknown }): CarriedData | Promise<CarriedData> {
    const asData = { data: job.data, carrier: undefined };
    const carried = takeApart(job.data);
    if (carried === undefined) return asData;
    const own = this.areOf(job, carried.carrier);
    if (typeof own === "boolean") return own ? carried : asData;
    return own.then((scheduled) => (scheduled ? carried : asData));
  }

  /** Whether a carrier was made for this job, or for a schedule of the queue. */
  areOf(job: AddressedJob, carrier: unknown): boolean | Promise<boolean> {
    if (carrier === undefined) return false;
    const { id } = addressee(carrier);
    return isAddressedTo(job, id) || this.#areScheduled(id);
  }

  async #areScheduled(taskId: string | undefined): Promise<boolean> {
    const scheduled = taskId !== undefined && (await this.#isScheduled(taskId));
    if (!scheduled && !this.#told) {
      this.#told = true;
      warn(`a job of ${this.#queue} bears a carrier of another task: it is taken for data, this and others like it`);
    }
    return scheduled;
  }

  async #isScheduled(taskId: string): Promise<boolean> {
    if (!this.#scheduled.has(taskId) && performance.now() - this.#lookedAt > PAUSE_MS) {
      this.#lookedAt = performance.now();
      this.#looking = this.#look();
    }
    await this.#looking;
    return this.#scheduled.has(taskId);
  }

  async #look(): Promise<void> {
    const schedules = (await this.#boss.getSchedules?.(this.#queue)) ?? [];
    this.#scheduled = new Set(schedules.map(({ data }) => addressee(takeApart(data)?.carrier).id));
  }
}
