import { quietly, warn } from "../../core/guard.js";
import { HOME } from "../home.js";
import { untraced } from "../untraced.js";
import { type Answers, asked } from "./answers.js";
import { failForGood } from "./fail-for-good.js";
import type { GraphileClient, GraphileJob, GraphileJobSpec, GraphileUtils } from "./graphile.js";
import type { EngineSettings } from "./options.js";
import { pause } from "./pause.js";
import { hearPoolErrors } from "./pool-errors.js";
import { quoted } from "./sql.js";

/** Several processes that start at once make the schema at once; 0.16 gives up then. */
const RIVALS = 10;
const RIVAL_PAUSE_MS = 100;
/** After these, graphile-worker has told the server of a job's end, or has lost its connection. */
const LATE_MS: readonly number[] = [50, 450, 1_500];

/** What graphile-worker itself goes by when it runs a job. */
export type NativeSpec = Pick<GraphileJobSpec, "priority" | "flags" | "queueName">;

/** Stands for a reason that the database cannot hold. */
const UNSAID = "the task failed; the database cannot hold the text of its error";

/** What is to be stored of a task. */
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

/** A job whose attempt has ended. */
export interface EndedJob {
  /** What it is to fail with, if it is. */
  readonly failure: string | undefined;
  /** False where nobody knows, because the answer was lost: the job has lost its key if what follows from it is stored. */
  readonly stored: boolean;
}

type EndedJobs = readonly (readonly [jobId: string, ended: EndedJob])[];

/** The jobs of a schema, by graphile-worker's public functions. Connects when it is first used. */
export class JobStore {
  readonly #settings: EngineSettings;
  readonly #answers: Answers;
  readonly #unhear: (() => void) | undefined;
  readonly #schema: string;
  #utils: Promise<GraphileUtils> | undefined;

  constructor(settings: EngineSettings, answers: Answers) {
    const { pgPool } = settings;
    this.#settings = settings;
    this.#answers = answers;
    this.#unhear = pgPool && hearPoolErrors(pgPool);
    this.#schema = quoted(settings.schema);
  }

  /** Connects, and brings the schema up to date; rejects where that fails, and tries again when asked again. */
  open(): Promise<GraphileUtils> {
    this.#utils ??= HOME.runInAsyncScope(() => untraced(() => asked(this.#answers, () => this.#connect())));
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
   * never runs again: what is left is to complete it. Rejects where it has lost its lock, and must not be completed.
   */
  async putBack(running: GraphileJob, job: NewJob): Promise<void> {
    const stored = await this.#addJob(job, "replace");
    if (String(stored.id) === String(running.id)) throw new Error(`job ${running.id} was not locked any more`);
  }

  /**
   * Makes sure that a running job never runs again, and frees its key: what is left is to fail it. Resolves to the
   * reason, or to one without details where the database cannot hold that.
   */
  async giveUp({ id, key }: GraphileJob, reason: string): Promise<string> {
    // whoever replaced it meanwhile has the key now
    const held = `exists (select from ${this.#schema}.jobs where id = $1 and key = $2)`;
    const text = `select $3::text, case when ${held} then ${this.#schema}.remove_job($2) is null end`;
    try {
      await this.#query(text, [id, key, reason]);
      return reason;
    } catch (error) {
      if (!isRefused(error)) throw error;
      warn(`the database cannot hold why job ${id} failed`, error);
      await this.#query(text, [id, key, UNSAID]);
      return UNSAID;
    }
  }

  /** Marks a job without a key as failed for good, when it is not locked any more. Never rejects. */
  async failForGood(jobId: string, reason: string): Promise<void> {
    await failForGood(jobId, () => this.#ask((utils) => utils.permanentlyFailJobs([jobId], reason)));
  }

  /** Finds a task that waits or runs. */
  async find(id: string): Promise<LiveJob | undefined> {
    const live = "key = $1 and (locked_at is not null or attempts < max_attempts)";
    const columns = "id::text, task_identifier, locked_by";
    const [found] = await this.#query<LiveJob>(`select ${columns} from ${this.#schema}.jobs where ${live}`, [id]);
    return found;
  }

  /** Removes a job unless it runs, and returns what was stored. */
  async take({ id, task_identifier }: LiveJob): Promise<GraphileJob | undefined> {
    const [taken] = await this.#ask((utils) => utils.completeJobs([id]));
    return taken === undefined ? undefined : { ...(taken as GraphileJob), task_identifier };
  }

  /** Jobs of these identifiers that wait or run anywhere, or are just being put down by one of these workers. */
  async countLive(identifiers: readonly string[], workers: readonly string[]): Promise<number> {
    const live = "attempts < max_attempts or (locked_at is not null and (key is not null or locked_by = any($2)))";
    const text = `select count(*)::int from ${this.#schema}.jobs where task_identifier = any($1) and (${live})`;
    const [row] = await this.#query<{ count: number }>(text, [identifiers, workers]);
    return row?.count ?? 0;
  }

  /** Frees what any worker holds. */
  async unlockAll(): Promise<void> {
    const held = `select distinct locked_by from ${this.#schema}.jobs where locked_by is not null`;
    const workers = (await this.#query<{ locked_by: string }>(held, [])).map((row) => row.locked_by);
    if (workers.length > 0) await this.#ask((utils) => utils.forceUnlockWorkers(workers));
  }

  /**
   * Frees what these workers hold, which run no more. What they ran to its end but could not put down is put down in
   * the same step: completed, or failed with the given reason, instead of run again.
   */
  async unlock(workers: readonly string[], ended: EndedJobs): Promise<void> {
    await this.#transaction(async (client) => {
      await client.query(`select from ${this.#schema}.force_unlock_workers($1)`, [workers]);
      await this.#putDown(client, ended);
    });
  }

  /** Puts a job down that has ended, when graphile-worker has let go of it, within seconds. Never rejects. */
  async putDownLate(jobId: string, ended: EndedJob): Promise<void> {
    const putDown = (client: GraphileClient): Promise<void> => this.#putDown(client, [[jobId, ended]]);
    for (const wait of LATE_MS) {
      await pause(wait);
      await quietly(`putting job ${jobId} down`, () => this.#transaction(putDown), undefined);
    }
  }

  /** Gives up the connections. Never rejects. */
  async close(): Promise<void> {
    const utils = await quietly("connecting", () => this.#utils, undefined);
    await quietly("closing graphile-worker's connections", () => utils?.release(), undefined);
    this.#unhear?.();
  }

  async #putDown(client: GraphileClient, ended: EndedJobs): Promise<void> {
    const doubtful = ended.flatMap(([id, { stored }]) => (stored ? [] : [id]));
    const kept = `select id::text from ${this.#schema}.jobs where id = any($1::bigint[]) and key is not null`;
    const again = new Set((await client.query(kept, [doubtful])).rows.map((row) => (row as { id: string }).id));
    const over = ended.filter(([id]) => !again.has(id));
    const completed = over.flatMap(([id, { failure }]) => (failure === undefined ? [id] : []));
    await client.query(`select from ${this.#schema}.complete_jobs($1)`, [completed]);
    for (const [id, { failure }] of over) {
      if (failure === undefined) continue;
      await client.query(`select from ${this.#schema}.permanently_fail_jobs(array[$1::bigint], $2)`, [id, failure]);
    }
  }

  async #connect(): Promise<GraphileUtils> {
    const { makeWorkerUtils, sharedOptions } = this.#settings;
    for (let rival = 1; ; rival += 1) {
      try {
        return await makeWorkerUtils({ ...sharedOptions });
      } catch (error) {
        if (rival === RIVALS || !isMadeElsewhere(error)) {
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

  async #transaction(run: (client: GraphileClient) => Promise<void>): Promise<void> {
    const begin = async (client: GraphileClient): Promise<void> => {
      await client.query("begin");
      try {
        await run(client);
        await client.query("commit");
      } catch (error) {
        await quietly("rolling back", () => client.query("rollback"), undefined);
        throw error;
      }
    };
    await this.#ask((utils) => utils.withPgClient(begin));
  }

  async #query<R>(text: string, values: unknown[]): Promise<R[]> {
    const { rows } = await this.#ask((utils) => utils.withPgClient((client) => client.query(text, values)));
    return rows as R[];
  }

  #ask<T>(ask: (utils: GraphileUtils) => Promise<T>): Promise<T> {
    return asked(this.#answers, async () => await ask(await this.open()));
  }
}

// A "data exception": a character that the database's encoding does not have, for one.
function isRefused(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === "string" && code.startsWith("22");
}

// A unique violation, and a row of the catalogue that another process has just changed.
function isMadeElsewhere(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return code === "23505" || code === "XX000";
}
