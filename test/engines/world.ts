import type { TaskEngine } from "otel-taskflow";

/** What a stored task is in the engine's own terms. */
export type StoredState = "queued" | "delayed" | "running" | "done" | "failed";

/** One kind of engine, on one kind of server, as the contract sees it. */
export interface EngineWorld {
  /** Such as `bullmq 6 on Redis`. */
  readonly title: string;
  /** Why it cannot run here; `undefined` where it can. */
  readonly unavailable?: string | undefined;
  /** One case at a time, where a server takes few connections. Default: several. */
  readonly serial?: boolean | undefined;
  /** Why other processes cannot reach its stores; `undefined` where they can. */
  readonly singleProcess?: string | undefined;
  /**
   * Absolute path of a module that exports `openStore(location): Promise<EngineStore>`, for other processes. They only
   * call `engine()` of that store, and nothing but engines in use may keep them alive.
   */
  readonly module: string;
  /** A store of its own for one test: a queue or a schema that nothing else uses. */
  create(): Promise<EngineStore>;
}

/** A place where an engine keeps tasks; several engines, also of several processes, may share it. */
export interface EngineStore {
  /** What `openStore` of {@link EngineWorld.module} needs to reach this store from another process. */
  readonly location: string;
  /** Another engine on this store, as another process would make it. */
  engine(options?: { readonly concurrency?: number }): TaskEngine;
  /** Stores data under a task's name in the engine's own way, as a producer without this library would; returns its id. */
  addForeign(name: string, data: unknown): Promise<string>;
  /** `undefined` where the store holds no such task any more (or does not keep what is done). */
  stateOf(taskId: string): Promise<StoredState | undefined>;
  /** Makes what the engine does to carry out the end of the running attempts fail, as a lost connection would. */
  breakSettling(): Promise<void>;
  /** Removes everything and closes every connection. */
  close(): Promise<void>;
}
