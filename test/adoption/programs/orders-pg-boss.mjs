// A service with pg-boss, which knows nothing of this library.
import { PgBoss } from "pg-boss";
import { serve } from "./orders.mjs";

const { DATABASE_URL: connectionString } = process.env;
const boss = new PgBoss({ connectionString, schedule: false });
await boss.start();
await boss.createQueue("orders", { retryLimit: 0 });
await serve({
  add: (data, priority) => boss.send("orders", data, { priority }),
  run: async (handle) => {
    await boss.work("orders", { batchSize: 50, pollingIntervalSeconds: 0.5 }, async (jobs) => {
      for (const { id, data } of jobs) handle(id, data);
    });
    return () => boss.offWork("orders", { wait: true });
  },
});
await boss.stop();
