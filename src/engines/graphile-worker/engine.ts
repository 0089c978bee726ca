import { withContext } from "../../core/context.js";
import { TaskCancelledError, TaskConfigError } from "../../core/errors.js";
import { debug, quietly, warn } from "../../core/guard.js";
import type {
  Bystanders,
  Delivery,
  EngineCapabilities,
  EngineHost,
  Settlement,
  TaskEngine,
  TaskMessage,
  UnfinishedTask,
} from "../engine.js";
import { seal } from "../envelope.js";
import { HOME } from "../home.js";
import { InFlight } from "../in-flight.js";
import { untraced } from "../untraced.js";
import { carryOut, failureOf } from "./carry-out.js";
import { type EngineHelpers, GRAPHILE_WORKER, type GraphileJob } from "./graphile.js";
import { type EndedJob, JobStore } from "./job-store.js";
import { KeptRunner } from "./kept-runner.js";
import { checkOptions, type EngineSettings, type GraphileEngineOptions } from "./options.js";
import { pause } from "./pause.js";
import { Recent } from "./recent.js";
import { identifierOf, type ReceivedJob, receiveJob, runAtOf } from "./stored-job.js";

const IDLE_POLL_MS = 100;
/** A job that was fetched starts, and one that has ended is put down, within milliseconds. */
const CANCEL_POLL_MS = 10;
const CANCEL_POLLS = 200;
/** For connections that answer no more; healthy ones need milliseconds. */
const CLOSED_WITHIN_MS = 5_000;
const GIVEN_BACK: Settlement = Object.freeze({ kind: "release", delay: 0 });

/** Without these, 0.18 leaves the promise that a job is put down to no one. */
const PRESET = { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } };

/** A task from its delivery until its end is carried out. */
interface Running {
  readonly cancel: AbortController;
  /** Set when the attempt has ended. */
  carriedOut: Promise<unknown> | undefined;
}

/**
 * Keeps tasks in PostgreSQL by graphile-worker, whose functions it is given. A task is a job: its id is the job's key,
 * its name the job's identifier. The next attempt is a new job that takes the place of the old one in one step, so
 * delays are exact and a killed worker costs no attempt. Connects when it is first used.
 *
 * @throws TaskConfigError for an option out of range.
 */
export function graphileEngine(options: GraphileEngineOptions): TaskEngine {
  return new GraphileEngine(checkOptions(options));
}

class GraphileEngine implements TaskEngine {
  readonly name = GRAPHILE_WORKER;
  readonly system = GRAPHILE_WORKER;
  readonly destination: string;
  readonly capabilities: EngineCapabilities;
  readonly #store: JobStore;
  readonly #runner: KeptRunner;
  /** What graphile-worker calls, by identifier; it looks here before every fetch. */
  readonly #tasks: Record<string, (payload: unknown, helpers: EngineHelpers) => Promise<void>> = Object.create(null);
  /** Tasks this process enqueues or runs, by identifier. */
  readonly #names = new Map<string, string>();
  readonly #running = new Map<string, Running>();
  /** Jobs whose attempt has ended; most of them are put down by now. */
  readonly #ended = new Recent<EndedJob>();
  readonly #inFlight = new InFlight();
  #host: EngineHost | undefined;
  #halted = false;
  #closed = false;

  constructor(settings: EngineSettings) {
    const answers = {
      lost: (error: unknown) => this.#closed || this.#host?.storeLost(error),
      back: () => this.#closed || this.#host?.storeBack(),
    };
    const store = new JobStore(settings, answers);
    this.destination = settings.schema;
    this.capabilities = Object.freeze({ durable: true, granularity: settings.pollInterval });
    this.#store = store;
    this.#runner = new KeptRunner({
      prepare: async () => {
        await store.open();
        if (settings.onlyWorker) await store.unlockAll();
      },
      run: (events) => untraced(() => settings.run({ ...runOptions(settings), events, taskList: this.#tasks })),
      unlock: async (workers) => {
        const ended = this.#ended.entries();
        await store.unlock(workers, ended);
        for (const [id] of ended) this.#ended.take(id);
      },
      answers,
      pause: settings.pollInterval,
    });
  }

  open(host: EngineHost): void {
    if (this.#host !== undefined) throw new TaskConfigError("engine: this engine belongs to another TaskManager");
    this.#host = host;
  }

  async enqueue({ origin, args }: TaskMessage): Promise<boolean> {
    const { id, enqueuedAt = 0, dueAt = enqueuedAt } = origin;
    const runAt = dueAt > enqueuedAt ? runAtOf(dueAt) : undefined;
    const identifier = this.#identify(origin.name);
    return await this.#store.add({ id, identifier, payload: seal({ args, origin }), runAt });
  }

  async work(names: readonly string[]): Promise<void> {
    if (this.#halted || names.length === 0) return;
    for (const name of names) {
      this.#tasks[this.#identify(name)] = (_payload, helpers) => this.#receive(helpers, name);
    }
    await this.#runner.start();
  }

  async cancel(taskId: string): Promise<boolean> {
    for (let poll = 0; poll < CANCEL_POLLS; poll += 1) {
      if (this.#cancelRunning(taskId)) return true;
      await quietly("waiting for the end of an attempt", () => this.#running.get(taskId)?.carriedOut, undefined);
      const found = await this.#store.find(taskId);
      if (found === undefined) return false;
      const { locked_by: worker } = found;
      // between its fetch and its start, or between its end and its removal, a task of this process is in no one's hands
      if (worker !== null && !this.#runner.workers.includes(worker)) return false;
      const taken = worker === null ? await this.#store.take(found) : undefined;
      if (taken !== undefined) {
        const received = receiveJob(taken, this.#nameOf(taken));
        this.#drop({ ...received, origin: this.#opened.receive(received), signal: undefined });
        return true;
      }
      await pause(CANCEL_POLL_MS);
    }
    return false;
  }

  async idle(bystanders: Bystanders): Promise<void> {
    await HOME.runInAsyncScope(async () => {
      while (!(await this.#isIdle(bystanders))) await pause(IDLE_POLL_MS);
    });
  }

  async quiesce(deadline: AbortSignal, bystanders: Bystanders): Promise<readonly UnfinishedTask[]> {
    this.#halted = true;
    void HOME.runInAsyncScope(() => this.#runner.stop());
    await this.#inFlight.settled(deadline, bystanders);
    return [];
  }

  async close(): Promise<void> {
    this.#halted = true;
    const timeout = new AbortController();
    const ended = Promise.all([this.#runner.stop(), this.#inFlight.settled()]);
    await Promise.race([ended, pause(CLOSED_WITHIN_MS, timeout.signal)]);
    timeout.abort();
    this.#closed = true;
    await this.#store.close();
  }

  // Out of the context of whoever opened the connection that told of the job.
  #receive(helpers: EngineHelpers, name: string): Promise<void> {
    return HOME.runInAsyncScope(() => this.#inFlight.add(this.#deliver(helpers, receiveJob(helpers.job, name))));
  }

  async #deliver(helpers: EngineHelpers, received: ReceivedJob): Promise<void> {
    const { id } = received;
    const origin = this.#opened.receive(received);
    const running: Running = { cancel: new AbortController(), carriedOut: undefined };
    this.#running.set(id, running);
    const settlement = await this.#run({ ...received, origin, signal: running.cancel.signal });
    // whatever is recorded of the queries belongs to the task's trace
    running.carriedOut = withContext(origin.context, () => this.#carryOut(helpers, received, settlement));
    try {
      await running.carriedOut;
    } finally {
      if (this.#running.get(id) === running) this.#running.delete(id);
    }
  }

  async #run(delivery: Delivery & { signal: AbortSignal }): Promise<Settlement> {
    if (this.#halted) return GIVEN_BACK;
    const { attempt, signal } = delivery;
    const settlement = await this.#opened.run(delivery);
    const { kind } = settlement;
    if (!signal.aborted || (kind !== "retry" && kind !== "release")) return settlement;
    this.#drop({ ...delivery, attempt: attempt + (kind === "retry" ? 1 : 0) });
    return { kind: "cancelled", error: signal.reason };
  }

  // What is thrown here is what graphile-worker fails the job with.
  async #carryOut(helpers: EngineHelpers, received: ReceivedJob, settlement: Settlement): Promise<void> {
    const { key } = helpers.job;
    const jobId = String(helpers.job.id);
    const failure = await carryOut(this.#store, helpers, received, settlement).catch((error: unknown) => {
      warn(`the end of task ${received.id} could not be stored: it will run again`, error);
      if (key !== null) this.#doubt(jobId, { failure: failureOf(settlement), stored: false });
      throw error;
    });
    this.#ended.keep(jobId, { failure, stored: true });
    if (failure === undefined) return;
    if (key === null) void this.#inFlight.add(this.#store.failForGood(jobId, failure));
    throw new Error(failure);
  }

  // Where the workers go on, what they held is never freed as a whole.
  #doubt(jobId: string, ended: EndedJob): void {
    this.#ended.keep(jobId, ended);
    void this.#inFlight.add(HOME.runInAsyncScope(() => this.#store.putDownLate(jobId, ended)));
  }

  /** Whether a task that runs here will not run again; its attempt is over then, or will be at once. */
  #cancelRunning(id: string): boolean {
    const running = this.#running.get(id);
    if (running === undefined || running.carriedOut !== undefined) return false;
    running.cancel.abort(new TaskCancelledError("the task was cancelled"));
    return true;
  }

  #drop(delivery: Delivery): void {
    void HOME.runInAsyncScope(() => this.#inFlight.add(this.#opened.drop(delivery, "cancelled")));
  }

  async #isIdle(bystanders: Bystanders): Promise<boolean> {
    if (!this.#inFlight.isSettled(bystanders)) return false;
    if (this.#halted || this.#names.size === 0) return true;
    try {
      const names = [...this.#names.keys()];
      const live = await untraced(() => this.#store.countLive(names, this.#runner.workers));
      return live <= bystanders() && this.#inFlight.isSettled(bystanders);
    } catch (error) {
      debug("counting what is queued failed", error);
      return false;
    }
  }

  get #opened(): EngineHost {
    if (this.#host === undefined) throw new TaskConfigError("engine: this engine belongs to no TaskManager yet");
    return this.#host;
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

function runOptions({ sharedOptions, concurrency, pollInterval }: EngineSettings): object {
  const { preset } = sharedOptions as { preset?: unknown };
  return {
    ...{ ...sharedOptions, concurrency, pollInterval },
    noHandleSignals: true,
    // instead of the crontab file of the folder this process runs in
    parsedCronItems: [],
    preset: { extends: preset === undefined ? [PRESET] : [PRESET, preset] },
  };
}
