import type { AsyncResource } from "node:async_hooks";
import type { SpanContext } from "@opentelemetry/api";
import type { BrokerServer } from "../core/attributes.js";
import type { TaskOrigin } from "../core/carrier.js";
import type { AttemptRun } from "../core/running-attempt.js";
import type { Carrier } from "../core/types.js";

/** A task on its way into a store. */
export interface TaskMessage {
  readonly origin: TaskOrigin;
  readonly args: readonly unknown[];
  /** The id was made for this task, so no task that lives can have it. */
  readonly fresh: boolean;
}

/** One attempt that an engine wants run. The host reads it when the attempt starts. */
export interface Delivery extends Omit<AttemptRun, "surrounding"> {
  /** `undefined` where the store holds no task: such a delivery fails, and is not retried. */
  readonly args: readonly unknown[] | undefined;
  /** Runs of this attempt that were lost before this one. Left out: 1 where it is `redelivered`, else 0. */
  readonly lost?: number | undefined;
  /**
   * The asynchronous context of whoever enqueued the task, where that was in this process: attempts and hooks run in
   * it, and the host destroys it when the task has ended.
   */
  readonly enqueuer?: AsyncResource | undefined;
}

/** A stored task as an engine finds it again. Facts that the engine knows itself win over those of the carrier. */
export interface StoredTask {
  readonly id: string;
  readonly name: string;
  /** The value that `carrierOf` returned, or anything; `undefined` where another producer stored the task. */
  readonly carrier: unknown;
  /** Retries + 1 as the engine or the task's producer stored it: a hint, for tasks that are not registered here. */
  readonly maxAttempts?: number | undefined;
}

/**
 * The end of a delivery, for the engine to store, in the outcome's own words. After `success` nothing more happens;
 * after `retry` the attempt that follows runs in `delay` ms and links to `span`; `failure` and `cancelled` are stored as
 * such; `deferred` gives the same attempt back, without using it up, for another run in `delay` ms.
 */
export type Settlement =
  | { readonly outcome: "success" }
  | { readonly outcome: "retry"; readonly delay: number; readonly error: unknown; readonly span: SpanContext }
  | { readonly outcome: "failure" | "cancelled"; readonly error: unknown }
  | { readonly outcome: "deferred"; readonly delay: number };

/** What a store says to an end: nothing where it has it, `"lost"` where somebody else has the task by now. */
// biome-ignore lint/suspicious/noConfusingVoidType: an engine has nothing to return but in the other case
export type StoreAnswer = void | "lost";

/**
 * Stores the end of a delivery. Done when it is stored; `"lost"` where the store says that this delivery has the task no
 * more, and its end is not stored. Where it throws or rejects, it is called again with the same end and what is left of
 * its `delay`, until it is done: it finds out by itself what an earlier call has carried out. That is so under `overStore`
 * of `otel-taskflow/engine`; of another engine the end is lost then, and its task runs again.
 */
export type StoreEnd = (end: Settlement) => StoreAnswer | Promise<StoreAnswer>;

/** The part of a manager that an engine calls. */
export interface EngineHost {
  /** Reads the origin of a stored task. Never throws: damage is told to diag and left out. */
  receive(stored: StoredTask): TaskOrigin;
  /** The origin of a task as strings, to be stored beside its arguments. Never throws. */
  carrierOf(origin: TaskOrigin): Carrier;
  /**
   * Runs one attempt, and owns the delivery until its end is stored by `store`, which is called inside the task's trace.
   * A run of this attempt that ended here before, and whose end was lost, is not repeated: that end is stored. Resolves
   * when everything about the delivery is over; never rejects.
   */
  run(delivery: Delivery, store: StoreEnd): Promise<void>;
  /** The store gave no answer. May be called as often as that happens: each outage is told once. Never throws. */
  storeLost(error: unknown): void;
  /** The store has answered. May be called as often as it does. Never throws. */
  storeBack(): void;
}

/** What an engine can do, and how exactly. */
export interface EngineCapabilities {
  /**
   * Tasks outlive the process, and any process may run them: arguments travel as JSON, and a shutdown gives back what
   * it cuts short instead of ending it.
   */
  readonly durable: boolean;
  /** Milliseconds by which an attempt may start late on an idle worker. */
  readonly granularity: number;
}

/**
 * Stores tasks and decides when an attempt starts; its host decides everything else. Made by `memoryEngine()` and its
 * siblings, used by one `TaskManager`.
 */
export interface TaskEngine {
  /** Value of `task.engine`. */
  readonly name: string;
  /** The broker's `messaging.system`, where there is one. */
  readonly system?: string | undefined;
  /** The queue's name, where there is one. */
  readonly destination?: string | undefined;
  /** Where the broker's server is, as far as the engine was told: the conventions' metrics have it. */
  readonly server?: BrokerServer | undefined;
  readonly capabilities: EngineCapabilities;
  /** A task gives up instead of being run, when so many runs of one attempt were lost. Default 10. */
  readonly maxLost?: number | undefined;
  /**
   * Copies the arguments of a task when it is added, and throws a `TaskConfigError` for what cannot be stored. Engines
   * that store JSON give `copyAsJson` of `otel-taskflow/engine`. Default: the array is copied, and not what is in it.
   */
  readonly copyArgs?: ((args: readonly unknown[]) => readonly unknown[]) | undefined;
  /** Called once, by the manager that will use the engine. Connects to nothing yet. */
  open(host: EngineHost): OpenEngine;
}

/**
 * An engine that has its host. Each method may reject when the store does, but none may wait for a hook. One whose store
 * may fail or be silent is put into `overStore` of `otel-taskflow/engine`, so that nobody waits for it without an end.
 */
export interface OpenEngine {
  /**
   * Resolves when the store can be asked; `overStore` of `otel-taskflow/engine` calls it before each `enqueue`. What fails
   * here has stored nothing. Left out: it always can.
   */
  connect?(): void | Promise<void>;
  /** Stores a task; false where a task of its id lives already, so that it was not stored again. Done when it is accepted. */
  enqueue(message: TaskMessage): boolean | Promise<boolean>;
  /** Starts consuming tasks of these names; called again when there are more of them. */
  work(names: readonly string[]): void | Promise<void>;
  /**
   * Removes a task that waits, for its first attempt or for a retry, from the store for good and returns it; `undefined`
   * where none waits under this id. A task that is just on its way between the store and the host of this process is
   * waited for: by then it has been given to `run`, or it waits again, or it has ended. Called again after a rejection, it
   * returns a task whose removal was carried out then.
   */
  take(taskId: string): Delivery | undefined | Promise<Delivery | undefined>;
  /** How many tasks of the queue have not ended and are not in the hands of this host. */
  waiting(): number | Promise<number>;
  /**
   * Starts no further attempt. Returns the tasks that end with this process, none where a store keeps them, when no
   * other delivery will follow or soon after `deadline` has aborted.
   */
  quiesce(deadline: AbortSignal): readonly Delivery[] | Promise<readonly Delivery[]>;
  /** Gives up the connections; nothing runs any more. */
  close(): void | Promise<void>;
}
