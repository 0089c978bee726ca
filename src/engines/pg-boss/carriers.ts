import { addressee } from "../../core/carrier.js";
import { TaskConfigError } from "../../core/errors.js";
import { warn } from "../../core/guard.js";
import type { Carrier } from "../../core/types.js";
import { ENVELOPE_KEY } from "../envelope.js";
import type { AddressedJob, Scheduler } from "./library.js";

/** Between two looks at the queue's schedules: strange data asks for one with each job. */
const PAUSE_MS = 1_000;

/** A job's data, and the carrier that stood in it. */
export interface CarriedData {
  /** As the producer passed it, and JSON made of it. */
  readonly data: unknown;
  /** `undefined` where the producer is none of this library's. */
  readonly carrier: Carrier | undefined;
}

/**
 * Puts the carrier of `enqueueTask` into a job's data, for every way to create jobs besides `sendJob`: `insert` and
 * `flow` with the task's id as the job's, and `schedule`. An object gets one more key, anything else is wrapped;
 * `workTask` takes it out again, from jobs whose id the carrier names and from those of a schedule.
 *
 * @throws TaskConfigError for a function.
 */
export function withCarrier(data: unknown, carrier: Carrier): object {
  if (typeof data === "function") throw new TaskConfigError("data: expected what JSON can hold, received a function");
  if (isRecord(data) && !(ENVELOPE_KEY in data)) return { ...data, [ENVELOPE_KEY]: { carrier } };
  return { [ENVELOPE_KEY]: { carrier, data: data ?? null } };
}

/** Takes data and carrier apart as {@link withCarrier} has put them together; `undefined` where it has not. Never throws. */
export function takeApart(stored: unknown): (CarriedData & { readonly carrier: Carrier }) | undefined {
  if (!isRecord(stored) || !(ENVELOPE_KEY in stored)) return undefined;
  const { [ENVELOPE_KEY]: envelope, ...rest } = stored;
  if (!isRecord(envelope) || !isRecord(envelope.carrier)) return undefined;
  const { carrier, data = rest } = envelope;
  // of any shape: who reads a carrier believes nothing of it
  return { data, carrier: carrier as Carrier };
}

/** Whether a job's data has a carrier that was made for the job of this id. Never throws. */
export function isCarried(data: unknown, id: string): boolean {
  return addressee(takeApart(data)?.carrier).id === id;
}

/**
 * Tells a queue's own carriers from data that looks like one: it may be the body of a request that a service passed
 * on. All jobs of a schedule bear the carrier of the schedule, which names none of them.
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
   * Takes a job's data and its carrier apart; a carrier that is not this job's is data. A promise only where the
   * schedules have to be asked for; rejects when pg-boss does.
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

// Only who made the carrier and the job knows the job's id. Any other id may come from the body of a request.
function isAddressedTo({ id, sourceId, sourceRootId }: AddressedJob, taskId: string | undefined): boolean {
  return taskId !== undefined && (taskId === id || taskId === sourceId || taskId === sourceRootId);
}

// JSON writes an object with a toJSON under other keys than its own.
function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  // any object may be asked for a property
  return typeof (value as { toJSON?: unknown }).toJSON !== "function";
}
