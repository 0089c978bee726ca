import { quietly } from "../core/guard.js";
import { HOME } from "../core/home.js";
import { isThenable } from "../core/thenable.js";
import { unlessAborted, whenAborted } from "../core/when-aborted.js";
import type { Delivery, OpenEngine, TaskMessage } from "../engines/engine.js";
import { answered, pause } from "./patience.js";

/** For so long an engine that is told to stop is waited for beyond the deadline. */
const OVERDUE_MS = 200;

/** The calls of an engine that ask its store, none of which is waited for without an end. */
export class StoreAccess {
  readonly #engine: OpenEngine;
  readonly #durable: boolean;
  readonly #closing: AbortController;

  /** `closing` is aborted here when the store is not waited for any more. */
  constructor(engine: OpenEngine, durable: boolean, closing: AbortController) {
    this.#engine = engine;
    this.#durable = durable;
    this.#closing = closing;
  }

  /** {@link OpenEngine.enqueue}; rejects with a `TaskStoreError` where the store gives no answer. */
  enqueue(message: TaskMessage): boolean | Promise<boolean> {
    return this.#durable ? this.#store(message) : this.#engine.enqueue(message);
  }

  /** {@link OpenEngine.work}; rejects with a `TaskStoreError` where the store gives no answer. */
  async work(names: readonly string[]): Promise<void> {
    const working = HOME.runInAsyncScope(this.#engine.work, this.#engine, names);
    if (!isThenable(working)) return;
    try {
      await answered(working, this.#closing.signal, () => undefined);
    } catch (error) {
      // a shutdown ends what still waits for its start
      if (!this.#closing.signal.aborted) throw error;
    }
  }

  /** {@link OpenEngine.quiesce}; an engine that does not stop in time has nothing to say of what it left. */
  async quiesce(deadline: AbortSignal): Promise<readonly Delivery[]> {
    const quiescing = (async () => await this.#engine.quiesce(deadline))();
    const overdue = async (): Promise<readonly Delivery[]> => {
      await whenAborted(deadline);
      await pause(OVERDUE_MS);
      return [];
    };
    return await Promise.race([quiescing, overdue()]);
  }

  /** Gives up the store; resolves when the connections are closed, or when `end` aborts. Never rejects. */
  async close(end: AbortSignal): Promise<void> {
    this.#closing.abort();
    await unlessAborted(
      quietly("closing the engine", () => this.#engine.close()),
      end,
    );
  }

  async #store(message: TaskMessage): Promise<boolean> {
    let known: false | undefined = false;
    const store = async (): Promise<boolean> => {
      await this.#engine.connect?.();
      known = undefined;
      return await this.#engine.enqueue(message);
    };
    return await answered(store(), this.#closing.signal, () => known);
  }
}
