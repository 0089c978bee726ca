import { HOME } from "../home.js";
import type { BullmqJob } from "./job.js";
import { isSameTask } from "./stored-task.js";

/** How long a job that has been taken out may still turn up here. */
const LATE_MS = 2_000;

/** A job that is being taken out, and those of its id that have ended here meanwhile. */
interface Departure {
  readonly id: string;
  readonly ended: BullmqJob[];
}

/** Jobs that are being taken out of the store, while they may be on their way to this process, or end in it. */
export class Departures {
  readonly #wanted = new Set<Departure>();
  /** Being taken out right now; resolves when that is done, or has failed. */
  readonly #leaving = new Map<string | undefined, Promise<void>>();
  /** Taken out a moment ago. */
  readonly #gone = new Map<string | undefined, BullmqJob>();

  /** Takes a job out, unless it ends here before `settled` resolves: BullMQ calls that removed as well. */
  async takeOut(
    id: string,
    remove: () => Promise<BullmqJob | undefined>,
    settled: () => Promise<void>,
  ): Promise<BullmqJob | undefined> {
    const departure: Departure = { id, ended: [] };
    this.#wanted.add(departure);
    try {
      const removed = await this.#remove(id, remove);
      await settled();
      return departure.ended.some((job) => removed !== undefined && isSameTask(job, removed)) ? undefined : removed;
    } finally {
      this.#wanted.delete(departure);
    }
  }

  /** A job has ended here. */
  ended(job: BullmqJob): void {
    for (const { id, ended } of this.#wanted) if (id === job.id) ended.push(job);
  }

  /** Whether a job that has arrived here is in the store no more; waits while that is being decided. */
  async hasLeft(job: BullmqJob): Promise<boolean> {
    while (this.#leaving.has(job.id)) await this.#leaving.get(job.id);
    const gone = this.#gone.get(job.id);
    return gone !== undefined && isSameTask(gone, job);
  }

  // One after the other; no attempt of the task starts here before it is known whether there is still a task.
  async #remove(id: string, remove: () => Promise<BullmqJob | undefined>): Promise<BullmqJob | undefined> {
    const before = this.#leaving.get(id);
    const removal = (async () => {
      await before;
      const removed = await remove();
      if (removed !== undefined) this.#leaveOut(id, removed);
      return removed;
    })();
    const forget = (): void => {
      if (this.#leaving.get(id) === known) this.#leaving.delete(id);
    };
    const known: Promise<void> = removal.then(forget, forget);
    this.#leaving.set(id, known);
    return await removal;
  }

  // On PostgreSQL a job can be removed that a worker has just been given.
  #leaveOut(id: string, job: BullmqJob): void {
    this.#gone.set(id, job);
    HOME.runInAsyncScope(() => setTimeout(() => this.#gone.delete(id), LATE_MS).unref());
  }
}
