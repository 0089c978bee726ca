import { setTimeout as pause } from "node:timers/promises";
import { withContext } from "../../core/context.js";
import { HOME } from "../../core/home.js";
import { whenAborted } from "../../core/when-aborted.js";
import { within } from "../../core/within.js";
import type { Delivery, EngineHost, OpenEngine, TaskEngine, TaskMessage } from "../engine.js";
import { seal } from "../envelope.js";
import { copyAsJson } from "../json.js";
import { untraced } from "../untraced.js";
import { type EngineHelpers, GRAPHILE_WORKER, type GraphileJob, type GraphileTask } from "./library.js";
import { checkOptions, type EngineSettings, type GraphileEngineOptions } from "./options.js";
import { EndedJobs, settle } from "./settle.js";
import { type EndedJob, Store } from "./store.js";
import { identifierOf, type ReceivedTask, receiveTask, runAtOf } from "./stored-task.js";
import { Worker } from "./worker.js";

/** A job that graphile-worker has fetched, or is just putting down, is in nobody's hands for some milliseconds. */
const PASSING_POLL_MS = 10;
const PASSING_POLLS = 200;
/** Healthy connections close within milliseconds; those that answer no more are not waited for any longer. */
const CLOSED_WITHIN_MS = 5_000;

/** A job in the hands of the host. */
interface HeldJob {
  readonly taskId: string;
  /** `undefined` until the end of its attempt is stored, or could not be. */
  ended: EndedJob | undefined;
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
    capabilities: Object.freeze({ durable: true, granularity: settings.pollInterval }),
    copyArgs: copyAsJson,
    open: (host) => new GraphileQueue(host, settings),
  };
}

class GraphileQueue implements OpenEngine {
  readonly #host: EngineHost;
  readonly #store: Store;
  readonly #worker: Worker;
  readonly #ended: EndedJobs;
  readonly #tasks: Record<string, GraphileTask> = Object.create(null);
  /** Tasks that this process enqueues or runs, by identifier. */
  readonly #names = new Map<string, string>();
  readonly #held = new Set<HeldJob>();

  constructor(host: EngineHost, settings: EngineSettings) {
    const store = new Store(settings, host);
    const ended = new EndedJobs(store);
    this.#host = host;
    this.#store = store;
    this.#ended = ended;
    this.#worker = new Worker({ settings, store, ended, news: host, tasks: this.#tasks });
  }

  async enqueue({ origin, args }: TaskMessage): Promise<boolean> {
    const { id, enqueuedAt = 0, dueAt = enqueuedAt } = origin;
    const runAt = dueAt > enqueuedAt ? runAtOf(dueAt) : undefined;
    const identifier = this.#identify(origin.name);
    return await this.#store.add({ id, identifier, payload: seal({ args, origin }), runAt });
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
    for (let poll = 0; poll < PASSING_POLLS && !this.#isHeld(taskId); poll += 1) {
      const found = await this.#store.find(taskId);
      if (found === undefined) return undefined;
      const { locked_by: worker } = found;
      if (worker !== null && !this.#worker.ids.includes(worker)) return undefined;
      const job = worker === null ? await this.#store.take(found) : undefined;
      // the context of whoever cancels a task is not the task's
      if (job !== undefined) return HOME.runInAsyncScope(() => this.#deliveryOf(receiveTask(job, this.#nameOf(job))));
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
    const ended = this.#worker.stop().then(() => this.#ended.settled());
    await within(CLOSED_WITHIN_MS, ended, undefined);
    await this.#store.close();
  }

  // graphile-worker fails the job with what is thrown here, and completes it otherwise.
  async #receive(helpers: EngineHelpers, name: string): Promise<void> {
    const { job } = helpers;
    const received = receiveTask(job, name);
    const delivery = this.#deliveryOf(received);
    const held: HeldJob = { taskId: received.id, ended: undefined };
    this.#held.add(held);
    await this.#host.run(delivery, async (end) => {
      held.ended = await settle(this.#store, helpers, received, end);
      if (!held.ended.stored) throw held.ended.error;
    });
    this.#held.delete(held);
    withContext(delivery.origin.context, () => this.#ended.handBack(job, held.ended));
  }

  #deliveryOf(received: ReceivedTask): Delivery {
    return { ...received, origin: this.#host.receive(received) };
  }

  #isHeld(taskId: string): boolean {
    return [...this.#held].some((held) => held.taskId === taskId && held.ended === undefined);
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
