import { arrive, extract, inject, type TaskOrigin } from "../core/carrier.js";
import { activeContext, withContext } from "../core/context.js";
import { DroppedAttempt } from "../core/drop.js";
import { TaskConfigError, TaskLostError } from "../core/errors.js";
import type { AttemptEnd } from "../core/finish.js";
import { debug, quietly } from "../core/guard.js";
import { HOME } from "../core/home.js";
import { RunningAttempt } from "../core/running-attempt.js";
import { NO_TAGS } from "../core/tags.js";
import { spanContextIn } from "../core/telemetry.js";
import type { Carrier } from "../core/types.js";
import { unlessAborted } from "../core/when-aborted.js";
import type {
  Delivery,
  EngineHost,
  OpenEngine,
  StoredTask,
  StoreEnd,
  TaskEngine,
  TaskMessage,
} from "../engines/engine.js";
import { Cancels } from "./cancel.js";
import { callOf, type SharedSettings } from "./definition.js";
import { type Bystanders, Deliveries } from "./deliveries.js";
import { type DroppedTask, HeldDelivery, type ToldEnd } from "./held-delivery.js";
import { untilIdle } from "./idle.js";
import { LostRuns, lostBefore } from "./lost-runs.js";
import type { Registry } from "./registry.js";
import { reasonOf, settlementOf } from "./settlement.js";
import { tellGaveUp, tellStore, tellUnknown } from "./voice.js";

/** After this time a task that this process does not know is offered again. */
const UNKNOWN_TASK_DELAY_MS = 5_000;
/** After this time a task is offered again that was fetched while its worker stopped, which must not get it once more. */
const STOPPING_DELAY_MS = 1_000;
/** Runs of one attempt that may be lost, where the engine does not say how many. */
const DEFAULT_MAX_LOST = 10;

/** A task that did not complete. */
export interface UnfinishedTask {
  readonly taskId: string;
  readonly funcName: string;
  /** Due and not started; waiting for its time, as a retry does; or running. */
  readonly state: "ready" | "delayed" | "active";
}

/** Engines that belong to a manager. */
const taken = new WeakSet<TaskEngine>();

/** Turns an engine's deliveries into attempts, and owns each of them until its end is stored. */
export class Host implements EngineHost {
  readonly #registry: Registry;
  readonly #shared: SharedSettings;
  readonly #engine: OpenEngine;
  readonly #here = new Deliveries();
  readonly #cancels: Cancels;
  readonly #lostRuns = new LostRuns(this.#here);
  readonly #maxLost: number;
  /** Aborts when the store is not waited for any more. */
  readonly #closing = new AbortController();
  #isStoreLost = false;
  /** Tasks whose retry would come after the end of this process, which alone knew of them. */
  readonly #cutShort: UnfinishedTask[] = [];
  #quiescing = false;
  /** Tasks that succeeded or gave up here. */
  completed = 0;

  /** @throws TaskConfigError for an engine of another manager. */
  constructor(engine: TaskEngine, registry: Registry, shared: SharedSettings) {
    if (taken.has(engine)) throw new TaskConfigError("engine: it belongs to another TaskManager");
    taken.add(engine);
    this.#registry = registry;
    this.#shared = shared;
    this.#maxLost = engine.maxLost ?? DEFAULT_MAX_LOST;
    this.#engine = engine.open(this);
    this.#cancels = new Cancels(this.#here, this.#engine, (dropped) => this.#drop(dropped), this.#closing.signal);
  }

  // --- called by the engine

  receive({ id, name, carrier, maxAttempts }: StoredTask): TaskOrigin {
    const { relation } = this.#shared;
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
    return arrive(found, facts);
  }

  carrierOf(origin: TaskOrigin): Carrier {
    return inject(origin);
  }

  run(delivery: Delivery, store: StoreEnd): Promise<void> {
    const { durable } = this.#shared;
    // a worker of the engine's may have a span of its own around it, and what it does to store belongs to the task's trace
    const given = durable ? { ...delivery, surrounding: spanContextIn(activeContext()) } : delivery;
    const end: StoreEnd = durable ? (ending) => withContext(given.origin.context, () => store(ending)) : store;
    const held = new HeldDelivery(given, end);
    this.#here.add(held);
    return (delivery.enqueuer ?? HOME).runInAsyncScope(this.#start, this, held);
  }

  storeLost(error: unknown = new Error("it gave no answer")): void {
    this.#storeIs(true, error);
  }

  storeBack(): void {
    this.#storeIs(false);
  }

  // --- called by the manager

  enqueue(message: TaskMessage): boolean | Promise<boolean> {
    return this.#engine.enqueue(message);
  }

  async work(): Promise<void> {
    // its workers belong to no one who happened to start them
    if (!this.#quiescing) await HOME.runInAsyncScope(this.#engine.work, this.#engine, this.#registry.names());
  }

  cancel(taskId: string): Promise<boolean> {
    return this.#cancels.cancel(taskId);
  }

  /** Resolves when nothing is queued, waiting for retry, or running here; but for the task that asks. */
  async idle(): Promise<void> {
    await this.#here.standBy("idle", (bystanders) => this.#untilIdle(bystanders));
  }

  /** {@link Deliveries.standBy} for a shutdown. */
  shutdown<T>(stop: (bystanders: Bystanders) => Promise<T>): Promise<T> {
    return this.#here.standBy("shutdown", stop);
  }

  /** Lets tasks end until `deadline` aborts, and starts no more of them; returns those that end with this process. */
  async drain(deadline: AbortSignal, bystanders: Bystanders): Promise<UnfinishedTask[]> {
    if (!this.#shared.durable) await unlessAborted(this.#untilIdle(bystanders), deadline);
    this.#quiescing = true;
    const left = await this.#engine.quiesce(deadline);
    for (const delivery of left) this.#drop({ delivery, why: "shutdown", isTold: false });
    await this.#here.settled(bystanders, deadline);
    return left.map(({ origin, dueAt = 0 }) => unfinished(origin, dueAt > Date.now() ? "delayed" : "ready"));
  }

  /**
   * Ends every running attempt without waiting for its function or hooks; returns the tasks cut short. The store is
   * waited for until `end` aborts.
   */
  async abandon(end: AbortSignal): Promise<UnfinishedTask[]> {
    this.#quiescing = true;
    const { durable } = this.#shared;
    const reason = reasonOf("shutdown");
    const cut = this.#here.values().flatMap(({ attempt, delivery: { origin }, told }) => {
      if (attempt?.abandon(reason, durable) === true) return unfinished(origin, "active");
      return durable && attempt?.outcome === "retry" && told?.dropped === undefined
        ? unfinished(origin, "delayed")
        : [];
    });
    await unlessAborted(this.#here.gone(), end);
    return [...cut, ...this.#cutShort];
  }

  /** Gives up the store; resolves when the connections are closed, or when `end` aborts. Never rejects. */
  async close(end: AbortSignal): Promise<void> {
    this.#closing.abort();
    const closed = quietly("closing the engine", () => this.#engine.close());
    await unlessAborted(closed, end);
  }

  // each outage is told once, and its end
  #storeIs(lost: boolean, error?: unknown): void {
    if (this.#closing.signal.aborted || this.#isStoreLost === lost) return;
    this.#isStoreLost = lost;
    tellStore(this.#shared.voice, lost, error);
  }

  #untilIdle(bystanders: Bystanders): Promise<void> {
    return untilIdle(this.#here, this.#engine, this.#shared.durable, bystanders, this.#closing.signal);
  }

  // --- one delivery

  #start(held: HeldDelivery): Promise<void> {
    const { delivery } = held;
    const { name } = delivery.origin;
    const run = this.#lostRuns.of(held);
    if (run !== undefined) return this.#join(held, run);
    const task = this.#registry.find(name);
    // it was fetched while the engine was told to stop
    if (this.#quiescing && this.#shared.durable) return this.#giveBack(held, STOPPING_DELAY_MS);
    if (task === undefined) {
      tellUnknown(this.#shared.voice, name);
      return this.#giveBack(held, UNKNOWN_TASK_DELAY_MS);
    }
    const attempt = new RunningAttempt<unknown>(delivery, task.attempt);
    held.attempt = attempt;
    const store = (end: AttemptEnd<unknown>): Promise<void> | undefined => this.#ended(held, attempt, end);
    const call = lostBefore(delivery) < this.#maxLost ? callOf(task, delivery.args) : () => throwLost(delivery);
    return new Promise((resolve) => {
      attempt.start(call, {
        store,
        over: () => {
          this.#leave(held);
          resolve();
        },
      });
    });
  }

  // The run that the store takes for lost is here, or was: it is not repeated.
  async #join(held: HeldDelivery, run: HeldDelivery | ToldEnd): Promise<void> {
    debug(`task ${held.id} was delivered again`);
    await held.follow(run);
    this.#leave(held);
  }

  async #giveBack(held: HeldDelivery, delay: number): Promise<void> {
    await held.store({ outcome: "deferred", delay });
    this.#leave(held);
  }

  #ended(held: HeldDelivery, attempt: RunningAttempt<unknown>, end: AttemptEnd<unknown>): Promise<void> | undefined {
    const { outcome } = end;
    if (outcome === "failure") tellGaveUp(this.#shared.voice, attempt.task, end.error);
    if (outcome === "success" || outcome === "failure") this.completed += 1;
    const settlement = settlementOf(end, attempt.span);
    // nothing will run here again, and the task is kept nowhere else
    const isCutOff = "delay" in settlement && this.#quiescing && !this.#shared.durable;
    if (!isCutOff) return held.store(settlement);
    if (held.told?.dropped === undefined) this.#cutShort.push(unfinished(held.delivery.origin, "delayed"));
    return held.drop("shutdown");
  }

  #leave(held: HeldDelivery): void {
    const { told } = held;
    if (this.#shared.durable) this.#lostRuns.keep(held);
    if (held.isStored === true && told?.dropped !== undefined) this.#drop(told.dropped);
    else if (told !== undefined && !("delay" in told.end)) held.delivery.enqueuer?.emitDestroy();
    this.#here.delete(held);
  }

  // Whoever enqueued the task has the asynchronous context in which its hook runs; it is never the caller's.
  #drop(task: DroppedTask): void {
    if (task.isTold) return;
    task.isTold = true;
    const { delivery, why } = task;
    const { origin, attempt, enqueuer } = delivery;
    const told = (enqueuer ?? HOME).runInAsyncScope(() => {
      const dropped = new DroppedAttempt(origin, attempt, this.#shared.telemetry);
      return this.#here.present(dropped, () => dropped.tell(reasonOf(why), this.#shared));
    });
    void told.then(() => enqueuer?.emitDestroy());
  }
}

function throwLost(delivery: Delivery): never {
  throw new TaskLostError(`${lostBefore(delivery)} runs of this attempt were lost`);
}

/** A task in the state in which it did not complete. */
export function unfinished(
  { id, name }: Pick<TaskOrigin, "id" | "name">,
  state: UnfinishedTask["state"],
): UnfinishedTask {
  return { taskId: id, funcName: name, state };
}
