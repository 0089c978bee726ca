import { PGlite } from "@electric-sql/pglite";
import { getTaskContext, TaskManager } from "otel-taskflow";
import { createTable, tableEngine } from "./engine.js";

// Tasks in a table of one's own, on an engine of one's own: see docs/writing-an-engine.md.
const db = new PGlite();
await createTable(db);
const tasks = new TaskManager({ engine: tableEngine({ db }) });

const greet = tasks.task({ name: "greet", retries: 2, delay: 100 }, (who: string) => {
  const { attempt, tags } = getTaskContext() ?? {};
  if (attempt === 0) throw new Error("not awake yet");
  console.log(`attempt ${attempt}: good morning, ${who}, on the plan ${tags?.plan}`);
});

const printRows = async (): Promise<void> => {
  const { rows } = await db.query("select name, args, attempt from tasks");
  console.log(rows);
};

await tasks.addTask(greet, ["Ada"], { tags: { plan: "pro" } });
const id = await tasks.addTask(greet, ["Grace"], { delay: 3_600_000 });
await printRows();
console.log("cancelled:", await tasks.cancel(id));
await tasks.work();
await tasks.idle();
await printRows();
await tasks.shutdown();
await db.close();

// Output:
//
// [
//   { name: 'greet', args: [ 'Ada' ], attempt: 0 },
//   { name: 'greet', args: [ 'Grace' ], attempt: 0 }
// ]
// cancelled: true
// attempt 1: good morning, Ada, on the plan pro
// []
