import { whenAborted } from "../core/when-aborted.js";

/** What an engine is doing in this process: deliveries from their start until they are carried out in the store. */
export class InFlight {
  readonly #pending = new Set<Promise<void>>();

  get size(): number {
    return this.#pending.size;
  }

  /** Counts a piece of work until it is settled, and returns it. */
  add<T>(work: Promise<T>): Promise<T> {
    const forget = (): void => void this.#pending.delete(settled);
    const settled: Promise<void> = work.then(forget, forget);
    this.#pending.add(settled);
    return work;
  }

  /** Resolves when nothing is in flight, or when `deadline` aborts. Never rejects. */
  async settled(deadline?: AbortSignal): Promise<void> {
    while (this.#pending.size > 0 && deadline?.aborted !== true) {
      const all = Promise.all(this.#pending);
      await (deadline === undefined ? all : Promise.race([all, whenAborted(deadline)]));
    }
  }
}
