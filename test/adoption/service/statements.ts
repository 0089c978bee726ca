import { type Job, PgBoss } from "pg-boss";
import { log } from "./log.js";
import { tellPartner } from "./partner.js";
import { reach } from "./steps.js";

const OFTEN = { pollingIntervalSeconds: 0.5 };

/** Queues of pg-boss. */
export interface Statements {
  /** Has a statement and two exports made of an order. */
  make(order: number): Promise<void>;
  stop(): Promise<void>;
}

/** Starts pg-boss with a worker for each of its queues, one of which takes two jobs at once, and with a schedule. */
export async function startStatements(connectionString: string): Promise<Statements> {
  const schedules = { cronMonitorIntervalSeconds: 1, cronWorkerIntervalSeconds: 1 };
  const boss = new PgBoss({ connectionString, schema: "statements", ...schedules });
  boss.on("error", (error) => log.error(error));
  await boss.start();
  for (const name of ["statement", "export", "nightly"]) await boss.createQueue(name);
  await boss.work("statement", OFTEN, (jobs) => handle("statement", jobs));
  await boss.work("export", { batchSize: 2, ...OFTEN }, (jobs) => handle("export", jobs));
  await boss.work("nightly", OFTEN, (jobs) => handle("nightly", jobs));
  await boss.schedule("nightly", "* * * * *", { list: "all" });
  return {
    async make(order) {
      await boss.send("statement", { order }, { retryLimit: 1 });
      await boss.insert("export", [{ data: { order, as: "pdf" } }, { data: { order, as: "csv" } }]);
    },
    stop: () => boss.stop(),
  };
}

async function handle(name: string, jobs: readonly Job<unknown>[]): Promise<void> {
  for (const { id } of jobs) {
    reach(name, id, "handler");
    await tellPartner(name, id);
  }
}
