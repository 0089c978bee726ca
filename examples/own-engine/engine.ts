import type { PGlite } from "@electric-sql/pglite";
import type { SpanContext } from "@opentelemetry/api";
import type { Delivery, EngineHost, OpenEngine, Settlement, StoredTask, TaskEngine, TaskMessage } from "otel-taskflow";
import { copyAsJson, overStore } from "otel-taskflow/engine";

/** The table is looked at this often, in milliseconds; so a task may start late by as much. */
const LOOKS_EVERY = 50;
/** A row that was taken belongs to its worker for so many milliseconds, and longer as long as that worker lives. */
const LEASE = 10_000;

/** A task as the table holds it. Times are epoch milliseconds. */
interface Row extends StoredTask {
  readonly seq: number;
  readonly args: readonly unknown[];
  readonly attempt: number;
  readonly due_at: number;
  /** The span of the attempt before. */
  readonly previous: SpanContext | null;
  /** How often it was taken: who took it last has it. */
  readonly claims: number;
  /** How often its lease had run out when it was taken for this attempt: whoever had it then is gone. */
  readonly lost: number;
}

export interface TableEngineOptions {
  db: PGlite;
  /** Made by `createTable`. Default `tasks`. */
  table?: string;
  /** Attempts running at once. Default 10. */
  concurrency?: number;
}

/** Makes the table of an engine, where it is missing. */
export async function createTable(db: PGlite, table = "tasks"): Promise<void> {
  await db.exec(`
    create table if not exists ${table} (
      seq bigserial primary key, id text not null, name text not null, args json not null, carrier json not null,
      attempt int not null default 0, due_at float8 not null, previous json, lease float8, failed bool not null default false,
      claims int not null default 0, lost int not null default 0
    );
    create unique index if not exists ${table}_live on ${table} (id) where not failed;`);
}

/** Keeps tasks in a table of PGlite, which several engines may share. */
export function tableEngine({ db, table = "tasks", concurrency = 10 }: TableEngineOptions): TaskEngine {
  const capabilities = { durable: true, granularity: LOOKS_EVERY };
  const open = (host: EngineHost): OpenEngine => overStore(host, (own) => new Table(own, db, table, concurrency));
  return { name: "table", capabilities, copyArgs: copyAsJson, open };
}

class Table implements OpenEngine {
  readonly #host: EngineHost;
  readonly #db: PGlite;
  readonly #table: string;
  readonly #concurrency: number;
  /** Rows that run here. */
  readonly #running = new Set<number>();
  #names: readonly string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(host: EngineHost, db: PGlite, table: string, concurrency: number) {
    this.#host = host;
    this.#db = db;
    this.#table = table;
    this.#concurrency = concurrency;
  }

  async enqueue({ origin, args }: TaskMessage): Promise<boolean> {
    const { id, name, dueAt = Date.now() } = origin;
    const carrier = this.#host.carrierOf(origin);
    const stored = await this.#query(
      `insert into ${this.#table} (id, name, args, carrier, due_at) values ($1, $2, $3, $4, $5)
       on conflict (id) where not failed do nothing returning seq`,
      [id, name, JSON.stringify(args), JSON.stringify(carrier), dueAt],
    );
    return stored.length === 1;
  }

  work(names: readonly string[]): void {
    this.#names = names;
    this.#timer ??= setInterval(() => this.#look(), LOOKS_EVERY);
  }

  async take(taskId: string): Promise<Delivery | undefined> {
    const [row] = await this.#query<Row>(
      `delete from ${this.#table} where id = $1 and not failed and (lease is null or lease < $2)
       returning *`,
      [taskId, Date.now()],
    );
    // a look that has just taken the row has given it to the host when it is over
    if (row === undefined) await this.#looking;
    return row && this.#deliveryOf(row);
  }

  async waiting(): Promise<number> {
    const sql = `select count(*)::int as count from ${this.#table} where not failed and seq <> all ($1)`;
    const [counted] = await this.#query<{ count: number }>(sql, [[...this.#running]]);
    return counted?.count ?? 0;
  }

  async quiesce(): Promise<readonly Delivery[]> {
    this.#names = []; // it goes on to look, which keeps the rows that still run
    await this.#looking;
    return [];
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  #look(): void {
    this.#looking ??= this.#takeDue()
      .then(() => this.#host.storeBack())
      .catch((error: unknown) => this.#host.storeLost(error))
      .finally(() => {
        this.#looking = undefined;
      });
  }

  async #takeDue(): Promise<void> {
    const now = Date.now();
    const keep = `update ${this.#table} set lease = $1 where seq = any ($2)`;
    await this.#query(keep, [now + LEASE, [...this.#running]]);
    const rows = await this.#query<Row>(
      `with due as (
         select seq, lease from ${this.#table}
         where not failed and name = any ($1) and due_at <= $2 and (lease is null or lease < $2)
         order by due_at, seq limit $3 for update skip locked
       )
       update ${this.#table} task set lease = $4, claims = claims + 1, lost = lost + (due.lease is not null)::int
       from due where task.seq = due.seq returning task.*`,
      [this.#names, now, this.#concurrency - this.#running.size, now + LEASE],
    );
    for (const row of rows) this.#start(row);
  }

  #start(row: Row): void {
    this.#running.add(row.seq);
    void this.#host.run(this.#deliveryOf(row), async (end) => {
      // until the end is stored, the lease is renewed
      const isStored = await this.#store(row, end);
      this.#running.delete(row.seq);
      return isStored ? undefined : "lost";
    });
  }

  // False where another worker has taken the row since, because the lease had run out. Asked twice, it changes nothing more.
  async #store({ seq, claims, attempt }: Row, end: Settlement): Promise<boolean> {
    const mine = "where seq = $1 and claims = $2 and lease is not null returning seq";
    const update = (values: string): string => `update ${this.#table} set lease = null, ${values} ${mine}`;
    const query = async (sql: string, ...values: unknown[]): Promise<boolean> =>
      (await this.#query(sql, [seq, claims, ...values])).length === 1;
    switch (end.outcome) {
      case "success":
      case "cancelled":
        return await query(`delete from ${this.#table} ${mine}`);
      case "failure":
        return await query(update("failed = true"));
      case "deferred":
        return await query(update("due_at = $3"), Date.now() + end.delay);
      case "retry": {
        const { traceId, spanId, traceFlags } = end.span;
        const previous = JSON.stringify({ traceId, spanId, traceFlags });
        const next = update("attempt = $3, due_at = $4, previous = $5, lost = 0");
        return await query(next, attempt + 1, Date.now() + end.delay, previous);
      }
    }
  }

  #deliveryOf({ id, name, carrier, args, attempt, due_at: dueAt, previous, lost }: Row): Delivery {
    const origin = this.#host.receive({ id, name, carrier });
    return { origin, args, attempt, dueAt, previous: previous ?? undefined, redelivered: lost > 0, lost };
  }

  async #query<R>(sql: string, values: unknown[]): Promise<R[]> {
    return (await this.#db.query<R>(sql, values)).rows;
  }
}
