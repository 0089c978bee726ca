import type * as contract from "otel-taskflow/testing/engine-contract";

export type { StoredState } from "otel-taskflow/testing/engine-contract";

/** One kind of engine, on one kind of server, and what the cases need that start other processes. */
export interface EngineWorld extends contract.EngineWorld {
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
  create(): Promise<EngineStore>;
}

/** A place where an engine keeps tasks; several engines, also of several processes, may share it. */
export interface EngineStore extends Required<contract.EngineStore> {
  /** `openStore` of {@link EngineWorld.module} reaches this store by it from another process. */
  readonly location: string;
}

/** Every world of ours but the memory engine's is like this. */
export const OFFERS: Pick<contract.EngineWorld, "durable" | "offers"> = {
  durable: true,
  offers: ["addForeign", "stateOf", "breakSettling"],
};
