import { type TaskEngine, TaskManager, type TaskManagerOptions } from "../../index.js";
import { Recorder } from "../recorder.js";
import { eventually, oneOf } from "./assertions.js";
import type { EngineStore, EngineWorld, StoredState } from "./world.js";

export interface RigOptions extends TaskManagerOptions {
  /** Attempts at once. Default: the engine's. */
  concurrency?: number;
  /** Stands between the manager and its engine. Default: nothing. */
  between?: (engine: TaskEngine) => TaskEngine;
}

/**
 * A case has a rig of its own: a store that nothing else uses, and a recorder. Several cases may run at once, so nothing
 * of a rig is registered globally.
 */
export class Rig extends Recorder {
  readonly world: EngineWorld;
  readonly store: EngineStore;
  /** The facts that the engine tells of itself. */
  readonly engine: Pick<TaskEngine, "name" | "system" | "capabilities">;
  readonly #closers: (() => unknown)[];

  constructor(world: EngineWorld, store: EngineStore) {
    super();
    this.world = world;
    this.store = store;
    this.#closers = [() => store.close()];
    this.engine = store.engine();
  }

  /** Another manager on the store, as another process would have it; it is shut down when the case is over. */
  manager({ concurrency, between = (engine) => engine, ...options }: RigOptions = {}): TaskManager {
    const engine = between(this.store.engine(concurrency === undefined ? {} : { concurrency }));
    const { tracerProvider, meterProvider } = this;
    const tasks = new TaskManager({ engine, onNotice: false, tracerProvider, meterProvider, ...options });
    this.onClose(() => tasks.shutdown({ timeout: 0 }));
    return tasks;
  }

  /** Runs all that is stored, and what follows from it. */
  async finish(tasks: TaskManager): Promise<void> {
    await tasks.work();
    await tasks.idle();
  }

  /** Waits until a span of this name has ended. */
  async ended(name: string): Promise<void> {
    await eventually(() => {
      if (this.named(name).length === 0) throw new Error(`no span named "${name}" has ended`);
    });
  }

  /** Stores data as a producer without this library would; for cases that need `addForeign`. */
  async addForeign(name: string, data: unknown): Promise<string> {
    if (this.store.addForeign === undefined) throw new Error(`${this.world.title} offers no addForeign`);
    return await this.store.addForeign(name, data);
  }

  /** `undefined` also where the world cannot tell. */
  async stateOf(taskId: string): Promise<StoredState | undefined> {
    return await this.store.stateOf?.(taskId);
  }

  /** Fails unless the store says one of these of the task; where it says nothing, nothing is known. */
  async isStored(taskId: string, ...allowed: readonly (StoredState | undefined)[]): Promise<void> {
    if (this.world.offers?.includes("stateOf")) oneOf(await this.stateOf(taskId), allowed);
  }

  /** `close` is called when the case is over, the last one first. */
  onClose(close: () => unknown): void {
    this.#closers.push(close);
  }

  /** Closes everything, whatever becomes of it; rejects with the first error. */
  async close(): Promise<void> {
    const errors: unknown[] = [];
    for (const close of this.#closers.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
