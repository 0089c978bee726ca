import { AsyncResource } from "node:async_hooks";
import type { SpanContext } from "@opentelemetry/api";
import type { TaskOrigin } from "../core/carrier.js";
import { checkKeys, checkNumber, MAX_TIMER_MS, namesOf } from "../core/checks.js";
import { TaskQueueFullError } from "../core/errors.js";
import { HOME } from "../core/home.js";
import { Roster, type Rostered } from "../core/roster.js";
import type {
  Delivery,
  EngineCapabilities,
  EngineHost,
  OpenEngine,
  Settlement,
  TaskEngine,
  TaskMessage,
} from "./engine.js";
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

/** A task, and at any time the attempt that is next or running. */
class Job implements Delivery, Rostered {
  place = -1;
  readonly origin: TaskOrigin;
  readonly args: readonly unknown[];
  readonly enqueuer = new AsyncResource("otel-taskflow.task", { requireManualDestroy: true });
  active = false;
  /** Its first attempt has started. */
  started = false;
  attempt = 0;
  dueAt: number | undefined;
  previous: SpanContext | undefined = undefined;
  timer: NodeJS.Timeout | undefined = undefined;
  readonly redelivered = false;
  /** As of attempts, one stays alive. */
  static readonly kept: object = new Job({ origin: { dueAt: 0.5 } } as TaskMessage);

  constructor({ origin, args }: TaskMessage) {
    this.origin = origin;
    this.args = args;
    this.dueAt = origin.dueAt;
  }

  get id(): string {
    return this.origin.id;
  }

  /** Makes the attempt after a failed one, or the same one once more, the next. */
  again(end: Extract<Settlement, { delay: number }>): void {
    this.active = false;
    this.dueAt = Date.now() + end.delay;
    if (end.outcome === "deferred") return;
    this.attempt += 1;
    this.previous = end.span;
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
  const open = (host: EngineHost): OpenEngine => new MemoryQueue(host, concurrency, maxQueued);
  return { name: "memory", capabilities: CAPABILITIES, open };
}

class MemoryQueue implements OpenEngine {
  readonly #host: EngineHost;
  readonly #concurrency: number;
  readonly #maxQueued: number;
  readonly #live = new Roster<Job>();
  readonly #ready = new Queue<Job>();
  #queued = 0;
  #running = 0;
  #turnPending = false;
  #turning = false;
  #halted = false;

  constructor(host: EngineHost, concurrency: number, maxQueued: number) {
    this.#host = host;
    this.#concurrency = concurrency;
    this.#maxQueued = maxQueued;
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

  take(taskId: string): Job | undefined {
    const job = this.#live.find(taskId);
    if (job === undefined || job.active) return undefined;
    this.#remove(job);
    if (this.#ready.size > this.#live.size * 2) this.#sweep();
    return job;
  }

  waiting(): number {
    return this.#live.size - this.#running;
  }

  quiesce(): readonly Job[] {
    this.#halted = true;
    const left = this.#live.values().filter((job) => !job.active);
    for (const job of left) this.#remove(job);
    this.#sweep();
    return left;
  }

  close(): void {}

  #wait(job: Job, delay: number): void {
    if (delay <= 0) {
      this.#ready.add(job);
      this.#scheduleTurn();
      return;
    }
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
    const mayStart = !this.#halted && this.#ready.size > 0 && this.#running < this.#concurrency;
    if (this.#turnPending || this.#turning || !mayStart) return;
    this.#turnPending = true;
    HOME.runInAsyncScope(inNextTurn, undefined, this.#takeTurn);
  }

  readonly #takeTurn = (): void => {
    if (!this.#turnPending) return;
    this.#turnPending = false;
    void this.#startReady();
  };

  // Tasks that these tasks enqueue wait for the next turn.
  async #startReady(): Promise<void> {
    this.#turning = true;
    const until = performance.now() + TURN_MS;
    let left = Math.min(this.#ready.size, this.#concurrency - this.#running);
    for (; left > 0 && !this.#halted && performance.now() < until; left -= 1) {
      const job = this.#ready.take();
      // the queue passes over what was taken out of it
      if (job !== undefined && this.#live.has(job)) this.#start(job);
      if (left % STARTED_TOGETHER === 0) await undefined;
    }
    this.#turning = false;
    this.#scheduleTurn();
  }

  #start(job: Job): void {
    if (!job.started) this.#queued -= 1;
    job.started = true;
    job.active = true;
    this.#running += 1;
    void this.#host.run(job, (end) => this.#store(job, end));
  }

  #store(job: Job, end: Settlement): void {
    this.#running -= 1;
    if ("delay" in end) {
      job.again(end);
      this.#wait(job, end.delay);
    } else {
      this.#live.delete(job);
    }
    this.#scheduleTurn();
  }

  #remove(job: Job): void {
    this.#live.delete(job);
    if (!job.started) this.#queued -= 1;
    clearTimeout(job.timer);
    job.timer = undefined;
  }

  #sweep(): void {
    this.#ready.keep((job) => this.#live.has(job));
  }
}
