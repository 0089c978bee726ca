import { arrive, extract, type TaskOrigin } from "../core/carrier.js";
import { activeContext } from "../core/context.js";
import { dropTask } from "../core/drop.js";
import { NonRetryableError, TaskCancelledError, UnknownTaskError } from "../core/errors.js";
import type { AttemptEnd } from "../core/finish.js";
import { warn } from "../core/guard.js";
import { currentAttempt } from "../core/live-attempt.js";
import { Roster } from "../core/roster.js";
import { RunningAttempt } from "../core/running-attempt.js";
import { NO_TAGS } from "../core/tags.js";
import { spanContextIn } from "../core/telemetry.js";
import type { TaskContext } from "../core/types.js";
import type { Bystanders, Delivery, EngineHost, Settlement, StoredTask, UnfinishedTask } from "../engines/engine.js";
import type { Registry, SharedSettings, TaskFunction } from "./registry.js";

/** Before a task that this process does not know is offered again. */
const UNKNOWN_TASK_DELAY_MS = 5_000;

type Attempt = RunningAttempt<unknown>;

/** A call by which an attempt waits for the others. */
interface Waiting {
  readonly attempt: Attempt;
  readonly call: "idle" | "shutdown";
}

/** Turns an engine's deliveries into attempts, and their ends into settlements. */
export class Host implements EngineHost {
  readonly #registry: Registry;
  readonly #shared: SharedSettings;
  readonly #running = new Roster<Attempt>();
  readonly #waiting = new Set<Waiting>();
  #storeLost = false;
  #completed = 0;
  #onEmpty: (() => void) | undefined;

  constructor(registry: Registry, shared: SharedSettings) {
    this.#registry = registry;
    this.#shared = shared;
  }

  /** Tasks that succeeded or gave up here. */
  get completed(): number {
    return this.#completed;
  }

  receive({ id, name, carrier, maxAttempts }: StoredTask): TaskOrigin {
    const { relation, telemetry } = this.#shared;
    const found = extract(carrier, activeContext());
    const policy = this.#registry.find(name)?.enqueue.maxAttempts ?? maxAttempts ?? found.maxAttempts;
    const facts = {
      id,
      name,
      tags: found.tags ?? NO_TAGS,
      // the policy of who runs a task decides, unless its enqueuer wished otherwise for this one
      maxAttempts: found.retries === undefined ? policy : found.retries + 1,
      relation: found.relation ?? relation,
    };
    return arrive(found, facts, telemetry.baggage);
  }

  run(delivery: Delivery): Promise<Settlement> {
    const { args, origin } = delivery;
    const task = this.#registry.find(origin.name);
    if (task === undefined) return Promise.resolve(this.#unknownTask(origin.name));
    const call = args === undefined ? holdsNoTask : callOf(task.fn, args);
    const attempt: Attempt = new RunningAttempt(this.#surrounded(delivery), task.attempt);
    this.#running.add(attempt);
    const settled = attempt.start(call, { signal: delivery.signal }).then((end) => {
      if (end.outcome === "failure") this.#tellGaveUp(attempt.task, end.error);
      return settlementOf(end, attempt);
    });
    // first of all that wait for it: no one sees the attempt gone from here and not yet settled in the engine
    settled.then(() => this.#forget(attempt));
    return settled;
  }

  drop({ origin, attempt }: Delivery, why: "cancelled" | "shutdown"): Promise<void> {
    const { route, telemetry, notify } = this.#shared;
    return dropTask({ origin, attempt, reason: reasonOf(why), route, telemetry, notify });
  }

  storeLost(error: unknown): void {
    if (this.#storeLost) return;
    this.#storeLost = true;
    const message = "the store cannot be reached";
    warn(message, error);
    this.#shared.voice.say({ kind: "store", message, error: error ?? new Error("it gave no answer") }, "lost");
  }

  storeBack(): void {
    if (!this.#storeLost) return;
    this.#storeLost = false;
    const message = "the store can be reached again";
    warn(message);
    this.#shared.voice.say({ kind: "store", message }, "back");
  }

  /**
   * Waits for the others. A shutdown does not wait for attempts that called `shutdown()`, nor does `idle()` inside an
   * attempt wait for any that waits itself; from outside, `idle()` waits for all.
   */
  async standBy<T>(call: Waiting["call"], wait: (bystanders: Bystanders) => Promise<T>): Promise<T> {
    // of this manager only where it is found among those that run here
    const attempt = currentAttempt() as Attempt | undefined;
    const inside = attempt !== undefined && this.#running.has(attempt);
    const counted: readonly Waiting["call"][] = call === "shutdown" ? ["shutdown"] : inside ? ["idle", "shutdown"] : [];
    const waiting: Waiting | undefined = inside ? { attempt, call } : undefined;
    if (waiting !== undefined) this.#waiting.add(waiting);
    try {
      return await wait(() => this.#countWaiting(counted));
    } finally {
      if (waiting !== undefined) this.#waiting.delete(waiting);
    }
  }

  /** Aborts a running attempt: true; false when the task has just ended; undefined when the engine has to say. */
  cancel(taskId: string): boolean | undefined {
    const attempt = this.#running.find(taskId);
    if (attempt === undefined) return undefined;
    if (attempt.abort(reasonOf("cancelled"))) return true;
    // settled, but hooks are running: left to stop are its retry, or a task that took the id of a cancelled one
    return attempt.outcome === "retry" || attempt.outcome === "cancelled" ? undefined : false;
  }

  /** Ends every running attempt without waiting for its function or hooks; returns the tasks cut short. */
  async abandon(): Promise<UnfinishedTask[]> {
    const reason = reasonOf("shutdown");
    const { durable } = this.#shared;
    const running = this.#running.values().map((attempt) => ({ attempt, cut: attempt.abandon(reason, durable) }));
    const unfinished: UnfinishedTask[] = [];
    for (const { attempt, cut } of running) {
      const { taskId, funcName } = attempt.task;
      if (cut) unfinished.push({ taskId, funcName, state: "active" });
      else if (attempt.outcome === "retry") unfinished.push({ taskId, funcName, state: "delayed" });
    }
    await this.#empty();
    return unfinished;
  }

  #tellGaveUp(context: TaskContext, error: unknown): void {
    const { taskId, funcName, attempt } = context;
    const message = `task "${funcName}" gave up after ${attempt + 1} attempt${attempt === 0 ? "" : "s"} (id ${taskId})`;
    this.#shared.voice.say({ kind: "gave-up", message, context, error }, funcName);
  }

  #unknownTask(funcName: string): Settlement {
    const message = `no task named "${funcName}" is registered with this manager`;
    warn("a task was given back", new UnknownTaskError(message));
    this.#shared.voice.say({ kind: "unknown-task", message: `a task was given back: ${message}` }, funcName);
    return { kind: "release", delay: UNKNOWN_TASK_DELAY_MS };
  }

  // An attempt that was stored is run by an engine's worker, which may have a span of its own around it.
  #surrounded(delivery: Delivery): Delivery {
    return this.#shared.durable ? { ...delivery, surrounding: spanContextIn(activeContext()) } : delivery;
  }

  #countWaiting(calls: readonly Waiting["call"][]): number {
    // asked at each end of a task, and nearly always none
    if (this.#waiting.size === 0 || calls.length === 0) return 0;
    const counted = [...this.#waiting].filter(
      ({ attempt, call }) => calls.includes(call) && this.#running.has(attempt),
    );
    return new Set(counted.map(({ attempt }) => attempt)).size;
  }

  #empty(): Promise<void> {
    return new Promise((resolve) => {
      this.#onEmpty = resolve;
      if (this.#running.size === 0) resolve();
    });
  }

  #forget(attempt: Attempt): void {
    this.#running.delete(attempt);
    if (this.#running.size === 0) this.#onEmpty?.();
    if (attempt.outcome === "success" || attempt.outcome === "failure") this.#completed += 1;
  }
}

function settlementOf(end: AttemptEnd<unknown>, attempt: Attempt): Settlement {
  switch (end.outcome) {
    case "success":
      return { kind: "done" };
    case "retry":
      return { kind: "retry", delay: end.delay ?? 0, error: end.error, span: attempt.span.spanContext() };
    case "deferred":
      return { kind: "release", delay: 0 };
    case "cancelled":
      return { kind: "cancelled", error: end.error };
    default:
      return { kind: "fail", error: end.error };
  }
}

// addTask checked args against this very function's parameters
function callOf(fn: TaskFunction, args: readonly unknown[]): () => unknown {
  const call = fn as (...args: readonly unknown[]) => unknown;
  return () => call(...args);
}

function holdsNoTask(): never {
  throw new NonRetryableError(
    "what is stored holds no arguments of a task: it was not stored by addTask, or is damaged",
  );
}

function reasonOf(why: "cancelled" | "shutdown"): TaskCancelledError {
  const cancelled = why === "cancelled";
  return new TaskCancelledError(
    cancelled ? "the task was cancelled" : "the task manager shut down before the task ended",
  );
}
