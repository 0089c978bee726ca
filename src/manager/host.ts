import { setTimeout as pause } from "node:timers/promises";
import { arrive, extract, inject, type TaskOrigin } from "../core/carrier.js";
import { activeContext, withContext } from "../core/context.js";
import { dropTask } from "../core/drop.js";
import { TaskConfigError } from "../core/errors.js";
import type { AttemptEnd } from "../core/finish.js";
import { quietly } from "../core/guard.js";
import { HOME } from "../core/home.js";
import { RunningAttempt } from "../core/running-attempt.js";
import { NO_TAGS } from "../core/tags.js";
import { spanContextIn } from "../core/telemetry.js";
import type { Carrier } from "../core/types.js";
import { whenAborted } from "../core/when-aborted.js";
import { within } from "../core/within.js";
import type {
  Delivery,
  EngineHost,
  OpenEngine,
  Settlement,
  StoredTask,
  StoreEnd,
  TaskEngine,
  TaskMessage,
} from "../engines/engine.js";
import { callOf, type SharedSettings } from "./definition.js";
import { type Bystanders, Deliveries } from "./deliveries.js";
import { type DroppedTask, HeldDelivery } from "./held-delivery.js";
import type { Registry } from "./registry.js";
import { reasonOf, settlementOf } from "./settlement.js";
import { StoreWatch } from "./store-watch.js";
import { tellGaveUp, tellUnknown } from "./voice.js";

/** After this time a task that this process does not know is offered again. */
const UNKNOWN_TASK_DELAY_MS = 5_000;
/** After this time a task is offered again that was fetched while its worker stopped, which must not get it once more. */
const STOPPING_DELAY_MS = 1_000;
/** For so long a cancel waits for the store, and a shutdown for what it gives back. */
const STORING_MS = 5_000;
/** Between two looks into a store for tasks that wait. */
const IDLE_POLL_MS = 100;
/** Before the store is asked again that gave no answer. */
const OUTAGE_POLL_MS = 1_000;
/** A task may start or end while the store is looked at; more often than this, somebody runs it again and again. */
const CANCEL_LOOKS = 4;

/** A task that did not complete. */
export interface UnfinishedTask {
  readonly taskId: string;
  readonly funcName: string;
  /** Due and not started; waiting for its time, as a retry does; or running. */
  readonly state: "ready" | "delayed" | "active";
}

/** What became of a cancel: no other attempt of the task will start; or the task had ended, or never was; or nobody knows. */
export type CancelAnswer = "cancelled" | "unknown" | "unanswered";

/** Engines that belong to a manager. */
const taken = new WeakSet<TaskEngine>();

/** Turns an engine's deliveries into attempts, and owns each of them until its end is stored. */
export class Host implements EngineHost {
  readonly #registry: Registry;
  readonly #shared: SharedSettings;
  readonly #engine: OpenEngine;
  readonly #here = new Deliveries();
  readonly #cancelling = new Map<string, Promise<CancelAnswer>>();
  readonly #store: StoreWatch;
  #quiescing = false;
  #closed = false;
  #completed = 0;

  /** @throws TaskConfigError for an engine of another manager. */
  constructor(engine: TaskEngine, registry: Registry, shared: SharedSettings) {
    if (taken.has(engine)) throw new TaskConfigError("engine: this engine belongs to another TaskManager");
    taken.add(engine);
    this.#registry = registry;
    this.#shared = shared;
    this.#store = new StoreWatch(shared.voice);
    this.#engine = engine.open(this);
  }

  /** Tasks that succeeded or gave up here. */
  get completed(): number {
    return this.#completed;
  }

  // --- called by the engine

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

  carrierOf(origin: TaskOrigin): Carrier {
    return inject(origin);
  }

  run(delivery: Delivery, store: StoreEnd): Promise<void> {
    const { durable } = this.#shared;
    // a worker of the engine's may have a span of its own around it, and what it does to store belongs to the task's trace
    const given = durable ? { ...delivery, surrounding: spanContextIn(activeContext()) } : delivery;
    const end = durable ? (ending: Settlement) => withContext(given.origin.context, () => store(ending)) : store;
    const held = new HeldDelivery(given, end);
    this.#here.add(held);
    return (delivery.enqueuer ?? HOME).runInAsyncScope(this.#start, this, held);
  }

  storeLost(error: unknown): void {
    if (!this.#closed) this.#store.lost(error);
  }

  storeBack(): void {
    if (!this.#closed) this.#store.back();
  }

  // --- called by the manager

  enqueue(message: TaskMessage): boolean | Promise<boolean> {
    return this.#engine.enqueue(message);
  }

  async work(): Promise<void> {
    if (!this.#quiescing) await HOME.runInAsyncScope(this.#engine.work, this.#engine, this.#registry.names());
  }

  /** Stops a task wherever it is: running here, being stored, or waiting in the store. Waits for no hook. */
  async cancel(taskId: string): Promise<CancelAnswer> {
    // several who cancel one task are served one after the other, so that one of them has cancelled it
    const before = this.#cancelling.get(taskId);
    const look = (): Promise<CancelAnswer> => this.#cancel(taskId);
    const answer = before === undefined ? look() : before.then(look, look);
    this.#cancelling.set(taskId, answer);
    try {
      return await answer;
    } finally {
      if (this.#cancelling.get(taskId) === answer) this.#cancelling.delete(taskId);
    }
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
    if (!this.#shared.durable) await Promise.race([this.#untilIdle(bystanders), whenAborted(deadline)]);
    this.#quiescing = true;
    const left = await this.#engine.quiesce(deadline);
    for (const delivery of left) this.#drop({ delivery, why: "shutdown" });
    await this.#here.settled(bystanders, deadline);
    return left.map(({ origin, dueAt = 0 }) => unfinished(origin, dueAt > Date.now() ? "delayed" : "ready"));
  }

  /** Ends every running attempt without waiting for its function or hooks; returns the tasks cut short. */
  async abandon(): Promise<UnfinishedTask[]> {
    this.#quiescing = true;
    const reason = reasonOf("shutdown");
    const held = this.#here.values().map((one) => ({
      origin: one.delivery.origin,
      cut: one.attempt?.abandon(reason, this.#shared.durable) === true,
      retries: one.attempt?.outcome === "retry",
    }));
    await within(STORING_MS, this.#here.settled(), undefined);
    return held.flatMap(({ origin, cut, retries }) => {
      if (cut) return unfinished(origin, "active");
      return retries ? unfinished(origin, "delayed") : [];
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#engine.close();
  }

  // --- one delivery

  #start(held: HeldDelivery): Promise<void> {
    const { delivery } = held;
    const { name } = delivery.origin;
    const task = this.#registry.find(name);
    // it was fetched while the engine was told to stop
    if (this.#quiescing && this.#shared.durable) return this.#giveBack(held, STOPPING_DELAY_MS);
    if (task === undefined) {
      tellUnknown(this.#shared.voice, name);
      return this.#giveBack(held, UNKNOWN_TASK_DELAY_MS);
    }
    const { args } = delivery;
    const attempt = new RunningAttempt<unknown>(delivery, task.attempt);
    held.attempt = attempt;
    const store = (end: AttemptEnd<unknown>): Promise<void> | undefined => this.#ended(held, attempt, end);
    const over = attempt.start(callOf(task, args), { store });
    return over.then(() => this.#leave(held));
  }

  async #giveBack(held: HeldDelivery, delay: number): Promise<void> {
    await held.store({ outcome: "deferred", delay });
    this.#leave(held);
  }

  #ended(held: HeldDelivery, attempt: RunningAttempt<unknown>, end: AttemptEnd<unknown>): Promise<void> | undefined {
    const { outcome } = end;
    if (outcome === "failure") tellGaveUp(this.#shared.voice, attempt.task, end.error);
    if (outcome === "success" || outcome === "failure") this.#completed += 1;
    const goesOn = outcome === "retry" || outcome === "deferred";
    // nothing will run here again, and the task is kept nowhere else
    if (goesOn && this.#quiescing && !this.#shared.durable) return held.drop("shutdown", reasonOf("shutdown"));
    return held.store(settlementOf(end, attempt.span));
  }

  #leave(held: HeldDelivery): void {
    const { dropped, attempt, delivery } = held;
    if (dropped !== undefined) this.#drop(dropped);
    else if (attempt?.outcome !== "retry" && attempt?.outcome !== "deferred") delivery.enqueuer?.emitDestroy();
    this.#here.delete(held);
  }

  // Whoever enqueued the task has the asynchronous context in which its hook runs; it is never the caller's.
  #drop({ delivery, why }: DroppedTask): void {
    const { route, telemetry, notify } = this.#shared;
    const { origin, attempt, enqueuer } = delivery;
    const plan = { origin, attempt, reason: reasonOf(why), route, telemetry, notify };
    const told = (enqueuer ?? HOME).runInAsyncScope(() => dropTask(plan));
    void this.#here.dropping(told).then(() => enqueuer?.emitDestroy());
  }

  // --- cancel and idle

  async #cancel(taskId: string): Promise<CancelAnswer> {
    for (let look = 0; look < CANCEL_LOOKS; look += 1) {
      const held = this.#here.find(taskId);
      const answer = held && (await this.#callOff(held));
      if (answer !== undefined) return answer;
      const delivery = await this.#engine.take(taskId);
      if (delivery !== undefined) {
        this.#drop({ delivery, why: "cancelled" });
        return "cancelled";
      }
      if (this.#here.find(taskId) === undefined) return "unknown";
    }
    return "unanswered";
  }

  /** `undefined` where the task goes on in the store. */
  async #callOff(held: HeldDelivery): Promise<CancelAnswer | undefined> {
    const { attempt } = held;
    const reason = reasonOf("cancelled");
    if (attempt?.abort(reason) === true) return await untilStored(held, "cancelled");
    if (attempt?.outcome === "success" || attempt?.outcome === "failure") return "unknown";
    // the hooks of a retry are running, and may themselves wait for this answer: the end is stored without them
    if (held.stage === "running") held.drop("cancelled", reason);
    const over = held.dropped !== undefined || attempt?.outcome === "cancelled";
    return await untilStored(held, over ? "cancelled" : undefined);
  }

  async #untilIdle(bystanders: Bystanders): Promise<void> {
    const { durable } = this.#shared;
    while (!this.#closed) {
      await this.#here.settled(bystanders);
      const { come } = this.#here;
      const changed = this.#here.changed();
      const look = (): number | Promise<number> => this.#engine.waiting();
      const waiting = await quietly("looking for tasks that wait", () => HOME.runInAsyncScope(look), undefined);
      if (waiting === 0 && this.#here.come === come && this.#here.isSettled(bystanders)) return;
      await (durable ? pause(waiting === undefined ? OUTAGE_POLL_MS : IDLE_POLL_MS) : changed);
    }
  }
}

async function untilStored<T>(held: HeldDelivery, answer: T): Promise<T | "unanswered"> {
  if (held.stored === undefined) return answer;
  const stored = held.stored.then(() => true);
  return (await within(STORING_MS, stored, false)) ? answer : "unanswered";
}

function unfinished({ id, name }: TaskOrigin, state: UnfinishedTask["state"]): UnfinishedTask {
  return { taskId: id, funcName: name, state };
}
