import { quietly, warn } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import type { StoreLink } from "../link.js";
import { isUnavailable, sqlStateOf } from "../outage.js";
import { areTooLong, MOST_TOGETHER, Together } from "../together.js";
import { untraced } from "../untraced.js";
import {
  amongRivals,
  type GraphileClient,
  type GraphileJob,
  type GraphileUtils,
  hearPoolErrors,
  type Statements,
  statementsOf,
} from "./library.js";
import type { EngineSettings } from "./options.js";
import { keyOf, LATEST, type NewTask } from "./stored-task.js";

/** SQLSTATEs of a schema that is gone, as where the database was dropped and made again. */
const SCHEMA_MISSING: readonly unknown[] = ["3F000", "42P01", "42883"];
/** SQLSTATE of a database that is gone. */
const DATABASE_MISSING = "3D000";
/** SQLSTATEs of data exceptions: the database's encoding lacks a character, for one. */
const REFUSED = /^22/;
/** The reason of a job whose own the database cannot hold. */
const UNSAID = "the task failed; the database cannot hold the text of its error";

/** Where a task is. */
export interface LiveJob extends Pick<GraphileJob, "task_identifier"> {
  readonly id: string;
  /** The worker that runs it; `null` while it waits. */
  readonly locked_by: string | null;
}

/** A job that is being removed, and the transaction that does so. */
interface Removal {
  readonly job: GraphileJob;
  readonly transaction: string;
}

/** Whether a request failed with this error because the database cannot be worked with now. */
export function isOutage(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state === undefined || state === DATABASE_MISSING || isUnavailable(state);
}

/** The way to graphile-worker's schema, which connects when it is first used. */
export class Connection {
  readonly #settings: EngineSettings;
  readonly #link: StoreLink;
  readonly #unhear: (() => void) | undefined;
  #utils: Promise<GraphileUtils> | undefined;
  #migrated: Promise<void> | undefined;
  /** It has connected, so that a request can be sent. */
  isOpen = false;

  constructor(settings: EngineSettings, link: StoreLink) {
    const { pgPool } = settings;
    this.#settings = settings;
    this.#link = link;
    this.#unhear = pgPool && hearPoolErrors(pgPool);
  }

  /** Connects, and brings the schema up to date; rejects where that fails, and tries again when asked again. */
  open(): Promise<GraphileUtils> {
    this.#utils ??= HOME.runInAsyncScope(() => untraced(() => this.#connect()));
    return this.#utils;
  }

  /** Lends a client to `run`. Where the schema is gone, it is made again, and `run` is called once more. */
  async use<T>(run: (client: GraphileClient) => Promise<T>): Promise<T> {
    const utils = await this.open();
    const ask = (): Promise<T> => this.#link.ask(() => utils.withPgClient(run));
    try {
      return await ask();
    } catch (error) {
      if (!SCHEMA_MISSING.includes(sqlStateOf(error))) throw error;
      await this.#migrate(utils);
      return await ask();
    }
  }

  /** Gives up the connections. Never rejects. */
  async close(): Promise<void> {
    const utils = await quietly("connecting", () => this.#utils, undefined);
    if (utils !== undefined) await release(utils);
    this.#unhear?.();
  }

  async #connect(): Promise<GraphileUtils> {
    const { makeWorkerUtils, sharedOptions } = this.#settings;
    const making = amongRivals(() => makeWorkerUtils({ ...sharedOptions }));
    try {
      const utils = await this.#link.ask(() => making);
      this.isOpen = true;
      return utils;
    } catch (error) {
      this.#utils = undefined;
      // it may connect when nobody waits for it any more
      making.then(release, () => {});
      throw error;
    }
  }

  async #migrate(utils: GraphileUtils): Promise<void> {
    const migrate = (): Promise<void> => amongRivals(() => utils.migrate());
    this.#migrated ??= HOME.runInAsyncScope(() => untraced(() => this.#link.ask(migrate)));
    try {
      await this.#migrated;
    } finally {
      this.#migrated = undefined;
    }
  }
}

/** The jobs of a schema. */
export class Store {
  readonly #connection: Connection;
  readonly #sql: Statements;
  /** Removals whose answer has not come, by job; whoever deletes one from here has the task. */
  readonly #removals = new Map<string, Removal>();
  readonly #fresh: Together<NewTask, true>;

  constructor(connection: Connection, schema: string) {
    this.#connection = connection;
    this.#sql = statementsOf(schema);
    // an answer with an SQLSTATE refuses the statement as a whole
    const isRefusal = (error: unknown): boolean => sqlStateOf(error) !== undefined || areTooLong(error);
    this.#fresh = new Together((tasks) => this.#addFresh(tasks), isRefusal, MOST_TOGETHER);
  }

  /** Stores a task; false where one of that id is queued, waiting or running. */
  async add(task: NewTask): Promise<boolean> {
    if (task.fresh) return await this.#fresh.ask(task);
    const stored = await this.#addJob(task, "unsafe_dedupe");
    if (stored?.revision === 0) return true;
    if (stored === undefined || stored.locked_at !== null || stored.attempts < stored.max_attempts) return false;
    await this.#addJob(task, "replace");
    return true;
  }

  /**
   * Stores the next run of a running job as a job of its own, and in the same step makes sure that the running one never
   * runs again: it is then to be completed. False where it has lost its lock; nothing is changed then. May be called again.
   */
  async putBack(running: GraphileJob, payload: unknown, delay: number): Promise<boolean> {
    const next = [running.task_identifier, JSON.stringify(payload), millisecondsOf(delay), keyOf(running)];
    return await this.#settle(this.#sql.putBack, running, next);
  }

  /**
   * Makes sure that a running job never runs again, and frees its key: it is then to be failed. Resolves to the reason
   * for that, which has no details where the database cannot hold them. `undefined` where the job has lost its lock;
   * nothing is changed then. May be called again.
   */
  async giveUp(running: GraphileJob, reason: string): Promise<string | undefined> {
    try {
      return (await this.#settle(this.#sql.giveUp, running, [reason])) ? reason : undefined;
    } catch (error) {
      if (reason === UNSAID || !REFUSED.test(sqlStateOf(error) ?? "")) throw error;
      warn(`the database cannot hold why job ${running.id} failed`, error);
      return await this.giveUp(running, UNSAID);
    }
  }

  /** Finds a task that waits or runs. */
  async find(id: string): Promise<LiveJob | undefined> {
    const [found] = await this.#query<LiveJob>(this.#sql.find, [id]);
    return found;
  }

  /**
   * Removes a job if it still waits, and returns it as it was stored. Of several callers one gets it. Where the answer is
   * lost, {@link recall} tells.
   */
  async take(taskId: string, { id, task_identifier }: LiveJob): Promise<GraphileJob | undefined> {
    const removal = await this.#connection.use((client) =>
      inTransaction(client, async () => {
        const { rows } = await client.query(this.#sql.take, [id, taskId]);
        // a row of graphile-worker's table, which has a number in place of the identifier
        const [row] = rows as (GraphileJob & { transaction: string })[];
        if (row === undefined) return undefined;
        const removed = { job: { ...row, task_identifier }, transaction: row.transaction };
        this.#removals.set(taskId, removed);
        return removed;
      }),
    );
    return removal && this.#own(taskId, removal);
  }

  /** The job that an earlier {@link take} has removed without hearing of it. Rejects while nobody knows. */
  async recall(taskId: string): Promise<GraphileJob | undefined> {
    const removal = this.#removals.get(taskId);
    if (removal === undefined) return undefined;
    const text = "select txid_status($1::bigint) as status";
    const [{ status } = { status: null }] = await this.#query<{ status: string | null }>(text, [removal.transaction]);
    if (status === "in progress") throw new Error(`job ${removal.job.id} is just being removed`);
    const removed = this.#own(taskId, removal);
    return status === "committed" ? removed : undefined;
  }

  /** Counts jobs of these identifiers that wait or run anywhere, or that one of these workers is just putting down. */
  async countLive(identifiers: readonly string[], workers: readonly string[]): Promise<number> {
    const [row] = await this.#query<{ count: number }>(this.#sql.countLive, [identifiers, workers]);
    return row?.count ?? 0;
  }

  /** Frees the jobs that any worker holds. */
  async unlockAll(): Promise<void> {
    await this.#query(this.#sql.unlockAll, []);
  }

  /** Puts down those of these jobs that these workers still hold although their tasks have ended. */
  async complete(workers: readonly string[], ended: readonly string[]): Promise<void> {
    await this.#query(this.#sql.complete, [workers, ended]);
  }

  /** Does the same, and frees what else these workers hold, which run no more. */
  async free(workers: readonly string[], ended: readonly string[]): Promise<void> {
    await this.#query(this.#sql.free, [workers, ended]);
  }

  async #addJob({ id, identifier, payload, delay }: NewTask, mode: "replace" | "unsafe_dedupe") {
    const values = [identifier, JSON.stringify(payload), millisecondsOf(delay), id, mode];
    const [stored] = await this.#query<GraphileJob>(this.#sql.add, values);
    return stored;
  }

  // Jobs that are there are not asked for together: statements that lock several of them might wait for each other.
  async #addFresh(tasks: readonly NewTask[]): Promise<true[]> {
    const [task] = tasks;
    if (task !== undefined && tasks.length === 1) {
      await this.#addJob(task, "unsafe_dedupe");
      return [true];
    }
    await this.#query(this.#sql.addFresh, [
      tasks.map(({ identifier }) => identifier),
      tasks.map(({ payload }) => JSON.stringify(payload)),
      // a microsecond apart, so that they start in their order
      tasks.map(({ delay }, place) => (millisecondsOf(delay) ?? 0) + place / 1_000),
      tasks.map(({ id }) => id),
    ]);
    return tasks.map(() => true);
  }

  // The number of attempts tells this delivery from a later one to the same worker.
  async #settle(text: string, { id, locked_by, attempts, key }: GraphileJob, values: unknown[]): Promise<boolean> {
    const [answer] = await this.#query<{ stored: boolean }>(text, [id, locked_by, attempts, key, ...values]);
    return answer?.stored === true;
  }

  #own(taskId: string, removal: Removal): GraphileJob | undefined {
    if (this.#removals.get(taskId) !== removal) return undefined;
    this.#removals.delete(taskId);
    return removal.job;
  }

  async #query<R>(text: string, values: unknown[]): Promise<R[]> {
    const { rows } = await this.#connection.use((client) => client.query(text, values));
    return rows as R[];
  }
}

async function inTransaction<T>(client: GraphileClient, run: () => Promise<T>): Promise<T> {
  await client.query("begin");
  try {
    const result = await run();
    await client.query("commit");
    return result;
  } catch (error) {
    await quietly("rolling back", () => client.query("rollback"), undefined);
    throw error;
  }
}

// Without a delay, a job is due at once by the server's clock.
function millisecondsOf(delay: number): number | null {
  return delay > 0 ? Math.min(delay, LATEST - Date.now()) : null;
}

async function release(utils: GraphileUtils): Promise<void> {
  await quietly("closing graphile-worker's connections", async () => void (await utils.release()), undefined);
}
