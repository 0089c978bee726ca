import { pause } from "../core/pause.js";
import { adopt, isThenable } from "../core/thenable.js";
import { whenAborted } from "../core/when-aborted.js";
import type { Delivery, EngineHost, OpenEngine, StoreAnswer, StoreEnd, TaskMessage } from "./engine.js";
import { answered, noAnswer, type StoreHearing, untilAnswered } from "./patience.js";

/** For so long an engine that is told to stop is waited for beyond the deadline. */
const OVERDUE_MS = 200;
/** For so long a store is asked about a task that is being cancelled. */
const LATE_MS = 60_000;

/**
 * Puts an engine over a store that may fail or be silent. `addTask` then rejects with a `TaskStoreError` where the store
 * says nothing for ten seconds, and `work()` where it does so for a minute; an end that could not be stored is stored
 * again until it is, and a task to be cancelled is asked for again for a minute; a shutdown does not wait for an engine
 * that does not stop. To be called by {@link TaskEngine.open}; `open` makes the engine itself, for the host that it gets.
 */
export function overStore(host: EngineHost, open: (host: EngineHost) => OpenEngine): OpenEngine {
  return new EngineOverStore(host, open);
}

class EngineOverStore implements OpenEngine {
  readonly #engine: OpenEngine;
  /** Aborts when the store is not waited for any more. */
  readonly #closing = new AbortController();
  readonly #hearing: StoreHearing = { closing: this.#closing.signal, heardAt: Number.NEGATIVE_INFINITY };

  constructor(host: EngineHost, open: (host: EngineHost) => OpenEngine) {
    this.#engine = open({
      receive: (stored) => host.receive(stored),
      carrierOf: (origin) => host.carrierOf(origin),
      run: (delivery, store) => host.run(delivery, untilStored(delivery.origin.id, store, this.#closing.signal)),
      storeLost: (error) => host.storeLost(error),
      storeBack: () => host.storeBack(),
    });
  }

  async enqueue(message: TaskMessage): Promise<boolean> {
    let known: false | undefined = false;
    let isOver = false;
    const store = async (): Promise<boolean> => {
      await this.#engine.connect?.();
      // it has been said by now that the task is not stored
      if (isOver) return false;
      known = undefined;
      return await this.#engine.enqueue(message);
    };
    try {
      return await answered(store(), this.#hearing, () => known);
    } finally {
      isOver = true;
    }
  }

  async work(names: readonly string[]): Promise<void> {
    const working = this.#engine.work(names);
    if (!isThenable(working)) return;
    try {
      await answered(adopt(working), this.#hearing, () => false);
    } catch (error) {
      // a shutdown ends what still waits for its start
      if (!this.#closing.signal.aborted) throw error;
    }
  }

  async take(taskId: string): Promise<Delivery | undefined> {
    const take = async (): Promise<{ found: Delivery | undefined }> => ({ found: await this.#engine.take(taskId) });
    const failed = `task ${taskId} could not be cancelled yet`;
    const answer = await untilAnswered(failed, take(), take, this.#closing.signal, LATE_MS);
    if (answer === undefined) throw noAnswer(undefined);
    return answer.found;
  }

  waiting(): number | Promise<number> {
    return this.#engine.waiting();
  }

  // an engine that does not stop in time has nothing to say of what it left
  async quiesce(deadline: AbortSignal): Promise<readonly Delivery[]> {
    const quiescing = (async () => await this.#engine.quiesce(deadline))();
    const overdue = async (): Promise<readonly Delivery[]> => {
      await whenAborted(deadline);
      await pause(OVERDUE_MS);
      return [];
    };
    return await Promise.race([quiescing, overdue()]);
  }

  close(): void | Promise<void> {
    this.#closing.abort();
    return this.#engine.close();
  }
}

// What is not stored when the store is waited for no more is lost, as if somebody else had the task.
function untilStored(id: string, store: StoreEnd, closing: AbortSignal): StoreEnd {
  return (end) => {
    const nextAt = "delay" in end ? Date.now() + end.delay : 0;
    const first = once(store, end);
    if (!isThenable(first)) return first;
    const again = async (): Promise<"stored" | "lost"> =>
      (await store("delay" in end ? { ...end, delay: Math.max(0, nextAt - Date.now()) } : end)) ?? "stored";
    const failed = `the end of task ${id} could not be stored yet`;
    const asked = adopt(first).then((answer) => answer ?? "stored");
    return untilAnswered(failed, asked, again, closing).then((answer) => (answer === "stored" ? undefined : "lost"));
  };
}

function once(store: StoreEnd, end: Parameters<StoreEnd>[0]): StoreAnswer | Promise<StoreAnswer> {
  try {
    return store(end);
  } catch (error) {
    return Promise.reject(error);
  }
}
