import { HOME } from "../home.js";
import type { BullmqJob } from "./job.js";

/** How long a job that has been taken out may still turn up here. */
const LATE_MS = 2_000;

/** Jobs that are being taken out of the store, while they may be on their way to this process, or end in it. */
export class Departures {
  /** Being taken out, and not ended here since. */
  readonly #wanted = new Set<string>();
  /** Being taken out right now; resolves when that is done, or has failed. */
  readonly #leaving = new Map<string | undefined, Promise<void>>();
  /** Taken out a moment ago, and when they were made. */
  readonly #gone = new Map<string | undefined, number>();

  /** Takes a job out, unless it ends here before `settled` resolves: BullMQ calls that removed as well. */
  async takeOut(
    id: string,
    remove: () => Promise<BullmqJob | undefined>,
    settled: () => Promise<void>,
  ): Promise<BullmqJob | undefined> {
    this.#wanted.add(id);
    try {
      const removed = await this.#remove(id, remove);
      await settled();
      return this.#wanted.has(id) ? removed : undefined;
    } finally {
      this.#wanted.delete(id);
    }
  }

  /** A job has ended here. */
  ended(id: string): void {
    this.#wanted.delete(id);
  }

  /** Whether a job that has arrived here is in the store no more; waits while that is being decided. */
  async hasLeft({ id, timestamp }: BullmqJob): Promise<boolean> {
    while (this.#leaving.has(id)) await this.#leaving.get(id);
    return this.#gone.get(id) === timestamp;
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
  #leaveOut(id: string, { timestamp }: BullmqJob): void {
    this.#gone.set(id, timestamp);
    HOME.runInAsyncScope(() => setTimeout(() => this.#gone.delete(id), LATE_MS).unref());
  }
}
