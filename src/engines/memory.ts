import { AsyncResource } from "node:async_hooks";
import type { SpanContext } from "@opentelemetry/api";
import type { TaskOrigin } from "../core/carrier.js";
import { checkKeys, checkNumber, MAX_TIMER_MS, namesOf } from "../core/checks.js";
import { TaskConfigError, TaskQueueFullError } from "../core/errors.js";
import { Roster, type Rostered } from "../core/roster.js";
import { whenAborted } from "../core/when-aborted.js";
import type {
  Bystanders,
  Delivery,
  EngineCapabilities,
  EngineHost,
  Settlement,
  TaskEngine,
  TaskMessage,
  UnfinishedTask,
} from "./engine.js";
import { HOME } from "./home.js";
import { Queue } from "./queue.js";
import { inNextTurn } from "./turn.js";

export interface MemoryEngineOptions {
  /** Attempts running at once. Default 100. */
  concurrency?: number | undefined;
  /** Tasks that may wait for their first attempt; one more is refused with a `TaskQueueFullError`. Default Infinity. */
  maxQueued?: number | undefined;
}

const KEYS = namesOf<MemoryEngineOptions>({ concurrency: true, maxQueued: true });

/** What starts attempts gives the event loop back after this. */
const TURN_MS = 8;
/** Attempts started before those that have started go on: what they do after an `await` is part of the turn. */
const STARTED_TOGETHER = 8;

const CAPABILITIES: EngineCapabilities = Object.freeze({ durable: false, granularity: 0 });

/** A call of `idle()` or `quiesce()`. */
interface IdleWaiter {
  readonly resolve: () => void;
  readonly bystanders: Bystanders;
}

/** A task, and at any time the attempt that is next or running. */
class Job implements Delivery, Rostered {
  place = -1;
  /** Cancelled, or left behind by a shutdown: passed over when its turn comes. */
  dropped = false;
  readonly origin: TaskOrigin;
  readonly args: readonly unknown[];
  /** The enqueuer's asynchronous context; every attempt starts from it. */
  readonly enqueuer = new AsyncResource("otel-taskflow.task", { requireManualDestroy: true });
  state: UnfinishedTask["state"] = "ready";
  /** Its first attempt has started. */
  started = false;
  attempt = 0;
  dueAt: number | undefined;
  previous: SpanContext | undefined;
  timer: NodeJS.Timeout | undefined;
  readonly redelivered = false;
  readonly signal = undefined;

  constructor({ origin, args }: TaskMessage) {
    this.origin = origin;
    this.args = args;
    this.dueAt = origin.dueAt;
  }

  get id(): string {
    return this.origin.id;
  }

  /** Makes the attempt after a failed one, or the same one once more, the next. */
  again(settlement: Settlement & { kind: "retry" | "release" }): void {
    this.dueAt = Date.now() + settlement.delay;
    if (settlement.kind === "release") return;
    this.attempt += 1;
    this.previous = settlement.span;
  }
}

/**
 * Runs tasks in this process: first in, first out, each in the asynchronous context of its own enqueuer. Tasks
 * are lost with the process; `shutdown()` runs what it can before that and names the rest.
 *
 * @throws TaskConfigError for an option out of range.
 */
export function memoryEngine(options: MemoryEngineOptions = {}): TaskEngine {
  checkKeys("memoryEngine()", options, KEYS);
  const { concurrency = 100, maxQueued = Number.POSITIVE_INFINITY } = options;
  if (concurrency !== Number.POSITIVE_INFINITY) checkNumber("concurrency", concurrency, { min: 1, integer: true });
  if (maxQueued !== Number.POSITIVE_INFINITY) checkNumber("maxQueued", maxQueued, { min: 1, integer: true });
  return new MemoryEngine(concurrency, maxQueued);
}

class MemoryEngine implements TaskEngine {
  readonly name = "memory";
  readonly capabilities = CAPABILITIES;
  readonly #concurrency: number;
  readonly #maxQueued: number;
  readonly #live = new Roster<Job>();
  readonly #ready = new Queue<Job>();
  #host: EngineHost | undefined;
  #queued = 0;
  #running = 0;
  #dropping = 0;
  #stale = 0;
  /** Active, and not live any more: cancelled. */
  #leaving = 0;
  #turnPending = false;
  #turning = false;
  #halted = false;
  #idleWaiters: IdleWaiter[] = [];

  constructor(concurrency: number, maxQueued: number) {
    this.#concurrency = concurrency;
    this.#maxQueued = maxQueued;
  }

  open(host: EngineHost): void {
    if (this.#host !== undefined) throw new TaskConfigError("engine: this engine belongs to another TaskManager");
    this.#host = host;
  }

  enqueue(message: TaskMessage): boolean {
    const { id, enqueuedAt = 0, dueAt = enqueuedAt } = message.origin;
    if (!message.fresh && this.#live.find(id) !== undefined) return false;
    if (this.#queued >= this.#maxQueued) {
      throw new TaskQueueFullError(`the queue holds ${this.#queued} tasks, its maxQueued`);
    }
    const job = new Job(message);
    this.#live.add(job);
    this.#queued += 1;
    this.#wait(job, dueAt - enqueuedAt);
    return true;
  }

  work(): void {}

  cancel(taskId: string): boolean {
    const job = this.#live.find(taskId);
    if (job === undefined) return false;
    if (job.state !== "active") return this.#giveUp(job, "cancelled");
    this.#live.delete(job);
    this.#leaving += 1;
    return true;
  }

  idle(bystanders: Bystanders): Promise<void> {
    return new Promise((resolve) => {
      this.#idleWaiters.push({ resolve, bystanders });
      this.#checkIdle();
    });
  }

  async quiesce(deadline: AbortSignal, bystanders: Bystanders): Promise<readonly UnfinishedTask[]> {
    await Promise.race([this.idle(bystanders), whenAborted(deadline)]);
    this.#halted = true;
    const waiting = this.#live.values().filter((job) => job.state !== "active");
    // a hook of one may cancel another, which is then not this shutdown's to name
    const unfinished = waiting.filter((job) => this.#giveUp(job, "shutdown"));
    this.#ready.keep((job) => !job.dropped);
    return unfinished.map(({ origin, state }) => ({ taskId: origin.id, funcName: origin.name, state }));
  }

  close(): void {}

  #wait(job: Job, delay: number): void {
    if (delay <= 0) {
      job.state = "ready";
      this.#ready.add(job);
      this.#scheduleTurn();
      return;
    }
    job.state = "delayed";
    const step = Math.min(delay, MAX_TIMER_MS);
    const timer = HOME.runInAsyncScope(() => setTimeout(() => this.#waited(job, timer, delay - step), step));
    job.timer = timer;
  }

  // A timer's callback is a turn of the event loop itself, and the first of those that fire together makes use of it.
  #waited(job: Job, timer: NodeJS.Timeout, left: number): void {
    // the mocked timers of Node 20's test runner may fire more than once
    if (job.timer !== timer) return;
    job.timer = undefined;
    const ownTurn = !this.#turnPending && !this.#turning;
    this.#wait(job, left);
    if (ownTurn && this.#turnPending) void this.#startReady();
  }

  // Attempts start in turns of the event loop, not in chains of microtasks: however many short tasks are queued,
  // timers and I/O get their turn in between, and addTask has resolved before its task starts.
  #scheduleTurn(): void {
    if (this.#turnPending || this.#turning || !this.#mayStart) return;
    this.#turnPending = true;
    HOME.runInAsyncScope(inNextTurn, undefined, this.#takeTurn);
  }

  get #mayStart(): boolean {
    return !this.#halted && this.#ready.size > 0 && this.#running < this.#concurrency;
  }

  readonly #takeTurn = (): void => {
    if (!this.#turnPending) return;
    this.#turnPending = false;
    void this.#startReady();
  };

  // What these tasks enqueue themselves waits for the next turn.
  async #startReady(): Promise<void> {
    this.#turning = true;
    const until = performance.now() + TURN_MS;
    let left = Math.min(this.#ready.size, this.#concurrency - this.#running);
    for (; left > 0 && !this.#halted && performance.now() < until; left -= 1) {
      const job = this.#ready.take();
      if (job !== undefined && !job.dropped) this.#start(job);
      if (left % STARTED_TOGETHER === 0) await undefined;
    }
    this.#turning = false;
    this.#scheduleTurn();
  }
  #start(job: Job): void {
    if (!job.started) this.#queued -= 1;
    job.started = true;
    job.state = "active";
    this.#running += 1;
    const ended = job.enqueuer.runInAsyncScope(this.#run, this, job);
    ended?.then((settlement) => this.#carryOut(job, settlement));
  }

  #run(job: Job): Promise<Settlement> | undefined {
    return this.#host?.run(job);
  }

  #carryOut(job: Job, settlement: Settlement): void {
    const cancelled = !this.#live.has(job);
    if (cancelled) this.#leaving -= 1;
    this.#running -= 1;
    const again = settlement.kind === "retry" || settlement.kind === "release";
    if (again) job.again(settlement);
    if (again && !cancelled && !this.#halted) {
      this.#wait(job, settlement.delay);
    } else {
      this.#live.delete(job);
      if (again) this.#drop(job, cancelled ? "cancelled" : "shutdown");
      else job.enqueuer.emitDestroy();
    }
    this.#scheduleTurn();
    this.#checkIdle();
  }

  // Not idle before whoever is told of it has been.
  #drop(job: Job, why: "cancelled" | "shutdown"): void {
    this.#dropping += 1;
    const told = job.enqueuer.runInAsyncScope(() => this.#host?.drop(job, why));
    told?.finally(() => {
      job.enqueuer.emitDestroy();
      this.#dropping -= 1;
      this.#checkIdle();
    });
  }

  // A job that waits leaves for good; false where it has left before.
  #giveUp(job: Job, why: "cancelled" | "shutdown"): boolean {
    if (!this.#live.has(job)) return false;
    this.#live.delete(job);
    if (!job.started) this.#queued -= 1;
    clearTimeout(job.timer);
    job.dropped = true;
    this.#stale += 1;
    if (this.#stale * 2 > this.#ready.size) {
      this.#ready.keep((one) => !one.dropped);
      this.#stale = 0;
    }
    this.#drop(job, why);
    return true;
  }

  #checkIdle(): void {
    if (this.#idleWaiters.length === 0) return;
    const busy = this.#live.size + this.#leaving + this.#dropping;
    const waiters = this.#idleWaiters;
    this.#idleWaiters = waiters.filter(({ bystanders }) => busy > bystanders());
    for (const waiter of waiters) if (!this.#idleWaiters.includes(waiter)) waiter.resolve();
  }
}
