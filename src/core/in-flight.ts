import { unlessAborted } from "./when-aborted.js";

/** Work that goes on in this process, and that somebody may want to wait for. */
export class InFlight {
  readonly #pending = new Set<Promise<unknown>>();

  /** Counts a piece of work until it is settled, and returns it. */
  add<T>(work: Promise<T>): Promise<T> {
    this.#pending.add(work);
    const forget = (): void => void this.#pending.delete(work);
    work.then(forget, forget);
    return work;
  }

  /** Resolves when nothing is in flight, or when `deadline` aborts. Never rejects. */
  async settled(deadline?: AbortSignal): Promise<void> {
    while (this.#pending.size > 0 && deadline?.aborted !== true) {
      await unlessAborted(Promise.allSettled(this.#pending), deadline);
    }
  }
}
