import { PGlite } from "@electric-sql/pglite";
import { getTaskContext, TaskManager } from "otel-taskflow";
import { pgBossEngine } from "otel-taskflow/pg-boss";
import { fromPglite, PgBoss } from "pg-boss";

// Tasks that outlive the process, without a server: PostgreSQL inside of it, in a folder. Run it twice.
const pglite = new PGlite(process.env.TASKS_FOLDER ?? "./tasks");
const tasks = new TaskManager({ engine: pgBossEngine({ boss: new PgBoss({ db: fromPglite(pglite) }) }) });

const remind = tasks.task({ name: "remind", retries: 3, delay: 1_000 }, async (who: string) => {
  console.log(`attempt ${getTaskContext()?.attempt}: reminding ${who}`);
});

await tasks.work();
await tasks.idle();
await tasks.addTask(remind, ["Ada"], { delay: 3_000 });
console.log("Ada will be reminded in three seconds, by this process or the next");
await tasks.shutdown();
await pglite.close();

// Output of the second run; the first prints the last line only:
//
// attempt 0: reminding Ada
// Ada will be reminded in three seconds, by this process or the next
