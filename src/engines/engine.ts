import type { SpanContext } from "@opentelemetry/api";
import type { TaskOrigin } from "../core/carrier.js";
import type { AttemptRun } from "../core/running-attempt.js";

/** A task on its way to a worker. */
export interface TaskMessage {
  readonly origin: TaskOrigin;
  readonly args: readonly unknown[];
  /** The id was made for this task: none like it can be live. */
  readonly fresh: boolean;
}

/** One attempt an engine wants run. Read when the attempt starts, and not kept. */
export interface Delivery extends AttemptRun {
  /** `undefined` where what is stored holds no task: such a delivery fails, and is not retried. */
  readonly args: readonly unknown[] | undefined;
}

/** A stored task as an engine finds it again. What the engine knows itself wins over what the carrier says. */
export interface StoredTask {
  readonly id: string;
  readonly name: string;
  /** What `inject` made, or anything; `undefined` where another producer stored the task. */
  readonly carrier: unknown;
  /** Retries + 1 as the engine or the task's producer stored it: a hint, for tasks that are not registered here. */
  readonly maxAttempts?: number | undefined;
}

/**
 * What an attempt's end means, for the engine to carry out: nothing more, run again after `delay` ms, store as
 * failed or cancelled, or give back without using up an attempt.
 */
export type Settlement =
  | { readonly kind: "done" }
  | { readonly kind: "retry"; readonly delay: number; readonly error: unknown; readonly span: SpanContext }
  | { readonly kind: "fail" | "cancelled"; readonly error: unknown }
  | { readonly kind: "release"; readonly delay: number };

/** What an engine calls. */
export interface EngineHost {
  /** Reads the origin of a stored task. Never throws: damage is told to diag and left out. */
  receive(stored: StoredTask): TaskOrigin;
  /** Runs one attempt, in the asynchronous context it is called in. Never rejects. */
  run(delivery: Delivery): Promise<Settlement>;
  /** A task ends before the attempt it waited for: cancelled, or given up by a shutdown. Never rejects. */
  drop(delivery: Delivery, why: "cancelled" | "shutdown"): Promise<void>;
  /** The store gave no answer. May be called as often as that happens: each outage is told once. Never throws. */
  storeLost(error: unknown): void;
  /** The store has answered. May be called as often as it does. Never throws. */
  storeBack(): void;
}

/** A task that was left behind. */
export interface UnfinishedTask {
  readonly taskId: string;
  readonly funcName: string;
  /** Due and not started; waiting for its time, as a retry does; or running. */
  readonly state: "ready" | "delayed" | "active";
}

/** How many of the attempts that run here are not waited for, because they wait themselves; asked at each look. */
export type Bystanders = () => number;

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
 * Stores tasks and decides when an attempt starts; what an attempt's end means is decided by its host. Made by
 * `memoryEngine()` and its siblings, used by one `TaskManager`.
 */
export interface TaskEngine {
  /** Value of `task.engine`. */
  readonly name: string;
  /** The broker's `messaging.system`, where there is one. */
  readonly system?: string | undefined;
  /** The queue's name, where there is one. */
  readonly destination?: string | undefined;
  readonly capabilities: EngineCapabilities;
  /** Called once, by the manager that will use the engine. */
  open(host: EngineHost): void;
  /** Stores a task; false when its id is live already, so that it was not stored again. Done when it is accepted. */
  enqueue(message: TaskMessage): boolean | Promise<boolean>;
  /** Starts consuming tasks of these names. */
  work(names: readonly string[]): void | Promise<void>;
  /** Drops a task that is not running, or the retry of one that is; true when no other attempt will start. */
  cancel(taskId: string): boolean | Promise<boolean>;
  /** Resolves when nothing is queued, waiting for retry, or running in this process, bystanders apart. */
  idle(bystanders: Bystanders): Promise<void>;
  /** Goes on until idle or until `deadline` aborts, then starts nothing more; returns what never ended. */
  quiesce(deadline: AbortSignal, bystanders: Bystanders): Promise<readonly UnfinishedTask[]>;
  /** Gives up connections; nothing runs any more. */
  close(): void | Promise<void>;
}
