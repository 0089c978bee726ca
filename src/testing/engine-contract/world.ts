import type { TaskEngine } from "../../index.js";

/** The state of a stored task in the engine's own terms. */
export type StoredState = "queued" | "delayed" | "running" | "done" | "failed";

/** The methods of a store that not every world has. */
export type StoreOffer = "addForeign" | "stateOf" | "breakSettling";

/** One kind of engine, on one kind of server, as the contract sees it. */
export interface EngineWorld {
  /** Such as `bullmq 6 on Redis`. */
  readonly title: string;
  /** The engine's tasks outlive the process, as its `capabilities.durable` says. */
  readonly durable: boolean;
  /** Which of the optional methods its stores have. Cases that are about another are skipped. Default: none. */
  readonly offers?: readonly StoreOffer[] | undefined;
  /** Makes a store for one case: a queue, a schema or a table that nothing else uses. Several cases may run at once. */
  create(): Promise<EngineStore>;
}

/** A place where an engine keeps tasks; several engines may share it. */
export interface EngineStore {
  /** Makes another engine on this store, as another process would. It connects to nothing before it is opened. */
  engine(options?: {
    /** Attempts at once. Default: the engine's own. */
    readonly concurrency?: number;
  }): TaskEngine;
  /** Stores data under a task's name in the engine's own way, as a producer without this library would; returns its id. */
  addForeign?(name: string, data: unknown): Promise<string>;
  /** `undefined` where the store holds no such task any more, or does not keep what is done. */
  stateOf?(taskId: string): Promise<StoredState | undefined>;
  /** Makes whatever the engine does to store the end of the running attempts fail, as a lost connection would. */
  breakSettling?(): Promise<void>;
  /** Removes everything and closes every connection. Every manager on the store has been shut down before. */
  close(): Promise<void>;
}
