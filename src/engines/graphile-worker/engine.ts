import { setTimeout as pause } from "node:timers/promises";
import { HOME } from "../../core/home.js";
import { isThenable } from "../../core/thenable.js";
import { whenAborted } from "../../core/when-aborted.js";
import { within } from "../../core/within.js";
import type { Delivery, EngineHost, OpenEngine, TaskEngine, TaskMessage } from "../engine.js";
import { seal } from "../envelope.js";
import { copyAsJson } from "../json.js";
import { StoreLink } from "../link.js";
import { overStore } from "../over-store.js";
import { serverOf } from "../server.js";
import { untraced } from "../untraced.js";
import { GRAPHILE_WORKER, type GraphileHelpers, type GraphileJob, type GraphileTask } from "./library.js";
import { checkOptions, type EngineSettings, type GraphileEngineOptions } from "./options.js";
import { type JobEnd, settle } from "./settle.js";
import { Connection, isOutage, Store } from "./store.js";
import { dueAtOf, identifierOf, type ReceivedTask, receiveTask } from "./stored-task.js";
import { Worker } from "./worker.js";

/** A job that graphile-worker has fetched, or is just putting down, is in nobody's hands for some milliseconds. */
const PASSING_POLL_MS = 10;
const PASSING_POLLS = 200;
/** Healthy connections close within milliseconds; those that answer no more are not waited for any longer. */
const CLOSED_WITHIN_MS = 5_000;

/** A job in the hands of the host. */
interface HeldJob {
  readonly taskId: string;
  /** `undefined` until the end of its attempt is stored, or is found to be lost. */
  end: JobEnd | undefined;
}

/**
 * Keeps tasks in PostgreSQL by graphile-worker, whose functions it is given. A task is a job: its id is the job's key,
 * its name the job's identifier. The next attempt is a new job that takes the place of the old one in one step, so
 * delays are exact and a killed worker costs no attempt. Connects when it is first used.
 *
 * @throws TaskConfigError for an option out of range.
 */
export function graphileEngine(options: GraphileEngineOptions): TaskEngine {
  const settings = checkOptions(options);
  return {
    name: GRAPHILE_WORKER,
    system: GRAPHILE_WORKER,
    destination: settings.schema,
    server: serverOf(options.connectionString ?? options.pgPool),
    maxLost: settings.maxLost,
    capabilities: Object.freeze({ durable: true, granularity: settings.pollInterval }),
    copyArgs: copyAsJson,
    open: (host) => overStore(host, (own) => new GraphileQueue(own, settings)),
  };
}

class GraphileQueue implements OpenEngine {
  readonly #host: EngineHost;
  readonly #connection: Connection;
  readonly #store: Store;
  readonly #worker: Worker;
  readonly #tasks: Record<string, GraphileTask> = Object.create(null);
  /** Tasks that this process enqueues or runs, by identifier. */
  readonly #names = new Map<string, string>();
  readonly #held = new Set<HeldJob>();

  constructor(host: EngineHost, settings: EngineSettings) {
    const link = new StoreLink(host, isOutage);
    const connection = new Connection(settings, link);
    const store = new Store(connection, settings.schema);
    this.#host = host;
    this.#connection = connection;
    this.#store = store;
    this.#worker = new Worker({ settings, connection, store, link, host, tasks: this.#tasks });
  }

  connect(): Promise<void> | undefined {
    return this.#connection.isOpen ? undefined : this.#connection.open().then(() => {});
  }

  async enqueue({ origin, args, fresh }: TaskMessage): Promise<boolean> {
    const { id, enqueuedAt = 0, dueAt = enqueuedAt } = origin;
    // what is left of the delay, measured by one clock
    const delay = dueAt > enqueuedAt ? dueAt - Date.now() : 0;
    return await this.#store.add({
      id,
      identifier: this.#identify(origin.name),
      payload: seal({ args, origin }),
      delay,
      fresh,
    });
  }

  async work(names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    for (const name of names) {
      // it is called in the context of whoever opened the connection that told of the job
      const receive: GraphileTask = (_payload, helpers) => HOME.runInAsyncScope(() => this.#receive(helpers, name));
      this.#tasks[this.#identify(name)] = receive;
    }
    await this.#worker.start();
  }

  async take(taskId: string): Promise<Delivery | undefined> {
    const recalled = await this.#recall(taskId);
    if (recalled !== undefined) return recalled;
    for (let poll = 0; poll < PASSING_POLLS && !this.#isHeld(taskId); poll += 1) {
      const found = await this.#store.find(taskId);
      // a request that nobody waits for any more may have removed it just now
      if (found === undefined) return await this.#recall(taskId);
      const { locked_by: worker } = found;
      if (worker !== null && !this.#worker.ids.includes(worker)) return undefined;
      const job = worker === null ? await this.#store.take(taskId, found) : undefined;
      if (job !== undefined) return this.#taken(job);
      await pause(PASSING_POLL_MS);
    }
    return undefined;
  }

  async waiting(): Promise<number> {
    if (this.#names.size === 0) return 0;
    const names = [...this.#names.keys()];
    const live = await untraced(() => this.#store.countLive(names, this.#worker.ids));
    return Math.max(0, live - this.#held.size);
  }

  async quiesce(deadline: AbortSignal): Promise<readonly Delivery[]> {
    await Promise.race([this.#worker.halt(deadline), whenAborted(deadline)]);
    return [];
  }

  async close(): Promise<void> {
    await within(CLOSED_WITHIN_MS, this.#worker.stop(), undefined);
    await this.#connection.close();
  }

  // graphile-worker fails the job with what is thrown here, and completes it otherwise.
  async #receive({ job }: GraphileHelpers, name: string): Promise<void> {
    const delivery = this.#deliveryOf(job, name);
    const held: HeldJob = { taskId: delivery.id, end: undefined };
    this.#held.add(held);
    const stored = (end: JobEnd): "lost" | undefined => {
      held.end = end;
      return end.job === "lost" ? "lost" : undefined;
    };
    await this.#host.run(delivery, (end) => {
      const settled = settle(this.#store, job, delivery, end);
      return isThenable(settled) ? settled.then(stored) : stored(settled);
    });
    this.#held.delete(held);
    this.#worker.putDown(job, held.end);
  }

  #deliveryOf(job: GraphileJob, name: string): ReceivedTask & Delivery {
    const received = receiveTask(job, name);
    const origin = this.#host.receive(received);
    return { ...received, origin, dueAt: received.dueAt ?? origin.dueAt ?? dueAtOf(job) };
  }

  async #recall(taskId: string): Promise<Delivery | undefined> {
    const removed = await this.#store.recall(taskId);
    return removed && this.#taken(removed);
  }

  // the context of whoever cancels a task is not the task's
  #taken(job: GraphileJob): Delivery {
    return HOME.runInAsyncScope(() => this.#deliveryOf(job, this.#nameOf(job)));
  }

  #isHeld(taskId: string): boolean {
    return [...this.#held].some((held) => held.taskId === taskId && held.end === undefined);
  }

  #identify(name: string): string {
    const identifier = identifierOf(name);
    this.#names.set(identifier, name);
    return identifier;
  }

  #nameOf({ task_identifier: identifier }: GraphileJob): string {
    return this.#names.get(identifier) ?? identifier;
  }
}
