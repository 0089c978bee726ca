import { after, describe, test } from "node:test";
import { PGlite } from "@electric-sql/pglite";
import { context, propagation } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import { type EngineStore, engineContract, type StoredState } from "otel-taskflow/testing/engine-contract";
import { createTable, tableEngine } from "./engine.js";

// npx tsx examples/own-engine/contract.ts: the rules that every engine keeps, held against this one by node:test
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
const propagators = [new W3CTraceContextPropagator(), new W3CBaggagePropagator()];
propagation.setGlobalPropagator(new CompositePropagator({ propagators }));

const db = new PGlite();
after(() => db.close());

engineContract({
  test,
  describe: (title, declareCases) => describe(title, { concurrency: 8 }, declareCases),
  world: { title: "a table in PGlite", durable: true, offers: ["stateOf", "breakSettling"], create: createStore },
});

/** A table that nothing else uses. */
async function createStore(): Promise<EngineStore> {
  const table = `tasks_${crypto.randomUUID().replaceAll("-", "")}`;
  await createTable(db, table);
  return {
    engine: (options) => tableEngine({ db, table, ...options }),
    stateOf: (taskId) => stateOf(table, taskId),
    breakSettling: async () => void (await db.exec(breakSettling(table))),
    close: async () => void (await db.exec(`drop table ${table}`)),
  };
}

interface State {
  readonly failed: boolean;
  readonly running: boolean | null;
  readonly delayed: boolean;
}

async function stateOf(table: string, taskId: string): Promise<StoredState | undefined> {
  const sql = `select failed, lease > $2 as running, due_at > $2 as delayed from ${table} where id = $1`;
  const { rows } = await db.query<State>(`${sql} order by seq desc limit 1`, [taskId, Date.now()]);
  const [row] = rows;
  if (row === undefined) return undefined;
  if (row.failed) return "failed";
  if (row.running) return "running";
  return row.delayed ? "delayed" : "queued";
}

/** The end of an attempt changes a row that is leased, which this refuses. */
function breakSettling(table: string): string {
  return `
    create function lose_${table}() returns trigger language plpgsql as $$ begin raise exception 'lost'; end $$;
    create trigger lose before update or delete on ${table} for each row
      when (old.lease is not null) execute function lose_${table}();`;
}
