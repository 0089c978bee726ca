import { setTimeout as pause } from "node:timers/promises";
import { quietly, warn } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import type { EngineHost } from "../engine.js";
import { untraced } from "../untraced.js";
import type { GraphileClient, GraphileJob, GraphileJobSpec, GraphileUtils } from "./library.js";
import type { EngineSettings } from "./options.js";
import { hearPoolErrors } from "./pool-errors.js";

/**
 * Processes that start at once make the schema at once, and graphile-worker 0.16 gives up where another was first
 * (https://github.com/graphile/worker/issues/496). 0.18 tries again by itself, so this may go with 0.16.
 */
const RIVALS = 10;
const RIVAL_PAUSE_MS = 100;
/** SQLSTATEs of a schema that is just made by another process: a unique violation, a changed row of the catalogue. */
const MADE_ELSEWHERE: readonly unknown[] = ["23505", "XX000"];
/** SQLSTATEs of data exceptions: the database's encoding lacks a character, for one. */
const REFUSED = /^22/;
/** SQLSTATEs of a server that cannot be worked with: connections, resources, shutdown. */
const NO_ANSWER = /^(08|53|57P)/;
/** The reason of a job whose own the database cannot hold. */
const UNSAID = "the task failed; the database cannot hold the text of its error";

/** Whoever is told whether the database answers, as often as it is known. */
export type StoreNews = Pick<EngineHost, "storeLost" | "storeBack">;

/** Priority, flags and queue: graphile-worker runs a job by them. */
export type NativeSpec = Pick<GraphileJobSpec, "priority" | "flags" | "queueName">;

/** A task to be stored. */
export interface NewJob {
  /** The task's id, and the job's key. */
  readonly id: string;
  readonly identifier: string;
  readonly payload: unknown;
  /** `undefined`: at once, by the server's clock. */
  readonly runAt: Date | undefined;
  readonly native?: NativeSpec;
}

/** Where a task is. */
export interface LiveJob extends Pick<GraphileJob, "task_identifier"> {
  readonly id: string;
  /** The worker that runs it; `null` while it waits. */
  readonly locked_by: string | null;
}

/** A job whose attempt has ended, with the reason to fail it with; `undefined` where it is to be completed. */
export type EndedJob =
  | { readonly failure: string | undefined; readonly stored: true }
  /** The answer was lost, so nobody knows: the job has lost its key if the end of its attempt is stored. */
  | { readonly failure: string | undefined; readonly stored: false; readonly error: unknown };

type EndedEntries = readonly (readonly [jobId: string, ended: EndedJob])[];

/** A schema's name as SQL. */
export function quoted(schema: string): string {
  return `"${schema.replaceAll('"', '""')}"`;
}

/**
 * SQL by which a running job has spent its attempts, so that it never runs again once graphile-worker has failed it:
 * `$1` is its id, `$2` the worker that has locked it. Returns a row where it did. graphile-worker's own functions do so
 * for jobs with a key alone, up to 0.18 (https://github.com/graphile/worker/issues/148), hence the table behind its view.
 */
export function spendAttempts(schema: string): string {
  const jobs = `${quoted(schema)}._private_jobs`;
  return `update ${jobs} set attempts = max_attempts where id = $1 and locked_by = $2 returning id`;
}

/** Asks the database, and tells whether it answered: its refusal is an answer, too. Settles as `ask` does. */
export async function asked<T>(news: StoreNews, ask: () => Promise<T>): Promise<T> {
  try {
    const answer = await ask();
    news.storeBack();
    return answer;
  } catch (error) {
    tellFailure(news, error);
    throw error;
  }
}

/** Tells from the error of a query whether the database answered. */
export function tellFailure(news: StoreNews, error: unknown): void {
  // PostgreSQL alone gives its errors a severity; whatever was thrown, its fields may be anything
  const { severity, code } = Object(error) as { severity?: unknown; code?: unknown };
  if (severity !== undefined && !NO_ANSWER.test(String(code))) news.storeBack();
  else news.storeLost(error);
}

/** The jobs of a schema, by graphile-worker's public functions wherever it has one. Connects when it is first used. */
export class Store {
  readonly #settings: EngineSettings;
  readonly #news: StoreNews;
  readonly #unhear: (() => void) | undefined;
  readonly #schema: string;
  readonly #spendAttempts: string;
  #utils: Promise<GraphileUtils> | undefined;

  constructor(settings: EngineSettings, news: StoreNews) {
    const { pgPool } = settings;
    this.#settings = settings;
    this.#news = news;
    this.#unhear = pgPool && hearPoolErrors(pgPool);
    this.#schema = quoted(settings.schema);
    this.#spendAttempts = spendAttempts(settings.schema);
  }

  /** Connects, and brings the schema up to date; rejects where that fails, and tries again when asked again. */
  open(): Promise<GraphileUtils> {
    this.#utils ??= HOME.runInAsyncScope(() => untraced(() => asked(this.#news, () => this.#connect())));
    return this.#utils;
  }

  /** Stores a task; false where one of that id is queued, waiting or running. */
  async add(job: NewJob): Promise<boolean> {
    const stored = await this.#addJob(job, "unsafe_dedupe");
    if (stored.revision === 0) return true;
    if (stored.locked_at !== null || stored.attempts < stored.max_attempts) return false;
    await this.#addJob(job, "replace");
    return true;
  }

  /**
   * Stores the next run of a running job as a job of its own, and in the same step makes sure that the running one
   * never runs again: it is then to be completed. Rejects where it has lost its lock, and must not be completed.
   */
  async putBack(running: GraphileJob, job: NewJob): Promise<void> {
    const stored = await this.#addJob(job, "replace");
    if (String(stored.id) === String(running.id)) throw new Error(`job ${running.id} was not locked any more`);
  }

  /**
   * Makes sure that a running job never runs again, and frees its key: it is then to be failed. Resolves to the reason
   * for that, which has no details where the database cannot hold them. Rejects where it has lost its lock and its end
   * cannot be stored.
   */
  async giveUp({ id, key, locked_by }: GraphileJob, reason: string): Promise<string> {
    if (key === null) {
      const spent = await this.#query(this.#spendAttempts, [id, locked_by]);
      if (spent.length === 0) throw new Error(`job ${id} was not locked any more`);
    }
    // a job that has replaced it meanwhile has its key now
    const held = `exists (select from ${this.#schema}.jobs where id = $1 and key = $2)`;
    const text = `select $3::text, case when ${held} then ${this.#schema}.remove_job($2) is null end`;
    try {
      await this.#query(text, [id, key, reason]);
      return reason;
    } catch (error) {
      if (!REFUSED.test(String(codeOf(error)))) throw error;
      warn(`the database cannot hold why job ${id} failed`, error);
      await this.#query(text, [id, key, UNSAID]);
      return UNSAID;
    }
  }

  /** Finds a task that waits or runs. */
  async find(id: string): Promise<LiveJob | undefined> {
    const live = "key = $1 and (locked_at is not null or attempts < max_attempts)";
    const columns = "id::text, task_identifier, locked_by";
    const [found] = await this.#query<LiveJob>(`select ${columns} from ${this.#schema}.jobs where ${live}`, [id]);
    return found;
  }

  /** Removes a job unless it runs, and returns it as it was stored. Of several callers one gets it. */
  async take({ id, task_identifier }: LiveJob): Promise<GraphileJob | undefined> {
    const [taken] = await this.#ask((utils) => utils.completeJobs([id]));
    // graphile-worker returns rows of its table, which have a number in place of the identifier
    return taken === undefined ? undefined : { ...(taken as GraphileJob), task_identifier };
  }

  /** Counts jobs of these identifiers that wait or run anywhere, or that one of these workers is just putting down. */
  async countLive(identifiers: readonly string[], workers: readonly string[]): Promise<number> {
    const live = "attempts < max_attempts or (locked_at is not null and (key is not null or locked_by = any($2)))";
    const text = `select count(*)::int from ${this.#schema}.jobs where task_identifier = any($1) and (${live})`;
    const [row] = await this.#query<{ count: number }>(text, [identifiers, workers]);
    return row?.count ?? 0;
  }

  /** Frees the jobs that any worker holds. */
  async unlockAll(): Promise<void> {
    const held = `select distinct locked_by from ${this.#schema}.jobs where locked_by is not null`;
    const workers = (await this.#query<{ locked_by: string }>(held, [])).map((row) => row.locked_by);
    if (workers.length > 0) await this.#ask((utils) => utils.forceUnlockWorkers(workers));
  }

  /**
   * Frees the jobs that these workers hold, which run no more. Those that they ran to their end, but could not put
   * down, are put down in the same step, instead of run again. Resolves to the jobs that other workers still hold.
   */
  async unlock(workers: readonly string[], ended: EndedEntries): Promise<ReadonlySet<string>> {
    return await this.#transaction(async (client) => {
      await client.query(`select from ${this.#schema}.force_unlock_workers($1)`, [workers]);
      await this.#putDown(client, ended);
      return await this.#idsOf(client, "locked_at is not null", ended);
    });
  }

  /** Completes or fails jobs that have ended, as far as they are not locked any more. */
  async putDown(ended: EndedEntries): Promise<void> {
    await this.#transaction((client) => this.#putDown(client, ended));
  }

  /** Gives up the connections. Never rejects. */
  async close(): Promise<void> {
    const utils = await quietly("connecting", () => this.#utils, undefined);
    await quietly("closing graphile-worker's connections", () => utils?.release(), undefined);
    this.#unhear?.();
  }

  async #putDown(client: GraphileClient, ended: EndedEntries): Promise<void> {
    const doubtful = ended.filter(([, { stored }]) => !stored);
    const again = await this.#idsOf(client, "key is not null", doubtful);
    const over = ended.filter(([id]) => !again.has(id));
    const completed = over.flatMap(([id, { failure }]) => (failure === undefined ? [id] : []));
    await client.query(`select from ${this.#schema}.complete_jobs($1)`, [completed]);
    for (const [id, { failure }] of over) {
      if (failure === undefined) continue;
      await client.query(`select from ${this.#schema}.permanently_fail_jobs(array[$1::bigint], $2)`, [id, failure]);
    }
  }

  /** Those of these jobs for which a condition holds. */
  async #idsOf(client: GraphileClient, condition: string, jobs: EndedEntries): Promise<Set<string>> {
    const text = `select id::text from ${this.#schema}.jobs where id = any($1::bigint[]) and ${condition}`;
    const { rows } = await client.query(text, [jobs.map(([id]) => id)]);
    // the column that was asked for
    return new Set(rows.map((row) => (row as { id: string }).id));
  }

  async #connect(): Promise<GraphileUtils> {
    const { makeWorkerUtils, sharedOptions } = this.#settings;
    for (let rival = 1; ; rival += 1) {
      try {
        return await makeWorkerUtils({ ...sharedOptions });
      } catch (error) {
        if (rival === RIVALS || !MADE_ELSEWHERE.includes(codeOf(error))) {
          this.#utils = undefined;
          throw error;
        }
        await pause(RIVAL_PAUSE_MS);
      }
    }
  }

  async #addJob({ id, identifier, payload, runAt, native }: NewJob, jobKeyMode: "replace" | "unsafe_dedupe") {
    const spec = { ...native, jobKey: id, jobKeyMode, ...(runAt && { runAt }) };
    return (await this.#ask((utils) => utils.addJob(identifier, payload, spec))) as GraphileJob;
  }

  async #transaction<T>(run: (client: GraphileClient) => Promise<T>): Promise<T> {
    const begin = async (client: GraphileClient): Promise<T> => {
      await client.query("begin");
      try {
        const result = await run(client);
        await client.query("commit");
        return result;
      } catch (error) {
        await quietly("rolling back", () => client.query("rollback"), undefined);
        throw error;
      }
    };
    return await this.#ask((utils) => utils.withPgClient(begin));
  }

  async #query<R>(text: string, values: unknown[]): Promise<R[]> {
    const { rows } = await this.#ask((utils) => utils.withPgClient((client) => client.query(text, values)));
    return rows as R[];
  }

  #ask<T>(ask: (utils: GraphileUtils) => Promise<T>): Promise<T> {
    return asked(this.#news, async () => await ask(await this.open()));
  }
}

function codeOf(error: unknown): unknown {
  // whatever was thrown, it may have a code or none
  return (Object(error) as { code?: unknown }).code;
}
