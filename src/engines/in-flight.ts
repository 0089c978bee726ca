import { whenAborted } from "../core/when-aborted.js";
import type { Bystanders } from "./engine.js";

const NOBODY: Bystanders = () => 0;

/** What an engine is doing in this process: deliveries from their start until they are carried out in the store. */
export class InFlight {
  readonly #pending = new Set<Promise<unknown>>();
  #waiters: (() => void)[] = [];

  get size(): number {
    return this.#pending.size;
  }

  /** Nothing is in flight but bystanders. */
  isSettled(bystanders: Bystanders): boolean {
    return this.#pending.size <= bystanders();
  }

  /** Counts a piece of work until it is settled, and returns it. */
  add<T>(work: Promise<T>): Promise<T> {
    this.#pending.add(work);
    const forget = (): void => {
      this.#pending.delete(work);
      this.#wake();
    };
    work.then(forget, forget);
    return work;
  }

  /** Resolves when nothing is in flight but bystanders, or when `deadline` aborts. Never rejects. */
  async settled(deadline?: AbortSignal, bystanders: Bystanders = NOBODY): Promise<void> {
    // whoever waits already looks again: the caller may be a bystander since
    this.#wake();
    const aborted = deadline && whenAborted(deadline);
    while (!this.isSettled(bystanders) && deadline?.aborted !== true) {
      const changed = new Promise<void>((resolve) => this.#waiters.push(resolve));
      await (aborted === undefined ? changed : Promise.race([changed, aborted]));
    }
  }

  #wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}
