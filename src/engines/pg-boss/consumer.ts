import { withContext } from "../../core/context.js";
import { NonRetryableError } from "../../core/errors.js";
import { quietly } from "../../core/guard.js";
import { whenAborted } from "../../core/when-aborted.js";
import type { Bystanders, Delivery, EngineHost, Settlement } from "../engine.js";
import { HOME } from "../home.js";
import { InFlight } from "../in-flight.js";
import { untraced } from "../untraced.js";
import type { PgBossEngineSettings } from "./options.js";
import { Poller } from "./poller.js";
import { deliveryOf, type StoredTask } from "./stored-task.js";
import type { TaskQueue } from "./task-queue.js";

/** An attempt that runs here, until its end is stored. */
interface Run {
  readonly task: StoredTask;
  cancelled: boolean;
  /** Set when the attempt has ended; resolves when that is stored, or could not be. */
  stored: Promise<void> | undefined;
}

/** Takes tasks from the queue as there is room for them, has them run, and stores how they ended. */
export class Consumer {
  /** Claimed tasks until their end is stored, and looking for more. */
  readonly inFlight: InFlight = new InFlight();
  /** Tasks claimed so far. */
  taken = 0;
  readonly #queue: TaskQueue;
  readonly #host: EngineHost;
  readonly #settings: PgBossEngineSettings;
  readonly #poller: Poller;
  readonly #runs = new Set<Run>();
  /** Names that no task here has, and until when theirs are left to others. */
  readonly #foreign = new Map<string, number>();
  #heartbeat: NodeJS.Timeout | undefined;
  #halted = false;
  #busy = 0;
  /** There may be more to run than there was room for. */
  #hungry = false;
  #taking: Promise<unknown> = Promise.resolve();

  constructor(queue: TaskQueue, host: EngineHost, settings: PgBossEngineSettings) {
    this.#queue = queue;
    this.#host = host;
    this.#settings = settings;
    this.#poller = new Poller(() => this.#look(), settings.pollingIntervalSeconds * 1000);
  }

  /** Starts looking for tasks; again or after `halt`, does nothing. */
  start(): void {
    if (this.#halted) return;
    const third = (this.#settings.heartbeatSeconds * 1000) / 3;
    this.#heartbeat ??= HOME.runInAsyncScope(() => setInterval(() => this.#touch(), third));
    this.#poller.start();
  }

  /** There is a new task. */
  nudge(): void {
    this.#poller.nudge();
  }

  /** Takes no more tasks; resolves when those that run are stored, or when `deadline` aborts. */
  async halt(deadline: AbortSignal, bystanders?: Bystanders): Promise<void> {
    this.#halted = true;
    await Promise.race([this.#poller.stop(), whenAborted(deadline)]);
    await this.inFlight.settled(deadline, bystanders);
  }

  /** Gives up what {@link halt} has not stored. */
  close(): void {
    clearInterval(this.#heartbeat);
  }

  /** Sees to it that no attempt follows the one that runs here; false where none does, or that was done before. */
  async cancel(taskId: string): Promise<boolean> {
    const run = [...this.#runs].find(({ task }) => task.taskId === taskId);
    if (run?.stored !== undefined) await run.stored;
    if (run === undefined || run.stored !== undefined || run.cancelled) return false;
    run.cancelled = true;
    return true;
  }

  /** Resolves when what is being claimed right now has started here. Never rejects. */
  async started(): Promise<void> {
    await this.#taking.catch(() => {});
  }

  async #look(): Promise<void> {
    const room = this.#settings.concurrency - this.#busy;
    this.#hungry = room <= 0;
    if (this.#hungry) return;
    try {
      const taking = this.inFlight.add(untraced(() => this.#queue.take(room, this.#foreignNames())));
      this.#taking = taking;
      const tasks = await taking;
      this.#hungry = tasks.length === room;
      for (const task of tasks) void this.inFlight.add(this.#receive(task));
    } catch (error) {
      // whatever it says to that, a store in which no task can be looked for is not there
      this.#host.storeLost(error);
    }
  }

  async #receive(task: StoredTask): Promise<void> {
    this.taken += 1;
    this.#busy += 1;
    await this.#handle(task);
    this.#busy -= 1;
    if (this.#hungry) this.#poller.nudge();
  }

  async #handle(task: StoredTask): Promise<void> {
    if (task.unsettled) {
      await quietly("settling a task again", () => untraced(() => this.#queue.resettle(task)), undefined);
    } else if (task.name === undefined) {
      await this.#store(task, { kind: "fail", error: new NonRetryableError("what is stored names no task") });
    } else if (this.#halted) {
      await this.#store(task, { kind: "release", delay: 0 });
    } else {
      await this.#run(task, deliveryOf(task, this.#host));
    }
  }

  async #run(task: StoredTask, delivery: Delivery): Promise<void> {
    const run: Run = { task, cancelled: false, stored: undefined };
    this.#runs.add(run);
    const settlement = await this.#host.run(delivery);
    const { kind } = settlement;
    if (kind === "release") this.#leave(task, settlement.delay);
    const dropped = run.cancelled && (kind === "retry" || kind === "release");
    const end: Settlement = dropped ? { kind: "cancelled", error: undefined } : settlement;
    // whatever pg-boss records of it belongs to the task's trace
    run.stored = withContext(delivery.origin.context, () => this.#store(task, end));
    await run.stored;
    const attempt = delivery.attempt + (kind === "retry" ? 1 : 0);
    if (dropped) await this.#host.drop({ ...delivery, attempt }, "cancelled");
    this.#runs.delete(run);
  }

  // What fails here, pg-boss delivers again when the claim has expired.
  #store(task: StoredTask, settlement: Settlement): Promise<void> {
    return quietly("storing the end of an attempt", () => this.#queue.settle(task, settlement), undefined);
  }

  // Otherwise this process would claim all that waits of a name which only others know, over and over.
  #leave({ name }: StoredTask, delay: number): void {
    if (name !== undefined && delay > 0) this.#foreign.set(name, Date.now() + delay);
  }

  #foreignNames(): string[] {
    for (const [name, until] of this.#foreign) if (until <= Date.now()) this.#foreign.delete(name);
    return [...this.#foreign.keys()];
  }

  #touch(): void {
    for (const { task } of this.#runs) {
      void quietly("touching a job", () => untraced(() => this.#queue.touch(task.job)), undefined);
    }
  }
}
