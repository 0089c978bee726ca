// A service with pg-boss, which knows nothing of this library but getTaskContext().
import { getTaskContext } from "otel-taskflow";
import { PgBoss } from "pg-boss";

const { DATABASE_URL: connectionString, SCHEMA: schema } = process.env;
const boss = new PgBoss({ connectionString, schema, schedule: false });
const seen = [];
await boss.start();
for (const queue of ["first", "second", "third"]) {
  await boss.createQueue(queue);
  await boss.work(queue, { pollingIntervalSeconds: 0.5 }, async ([job]) => {
    seen.push({ name: queue, same: getTaskContext()?.taskId === job.id, data: job.data });
    if (queue === "first") await boss.send("second", { n: 2 });
  });
}
await boss.send("first", { n: 1 });
await boss.insert("third", [{ data: { n: 3 } }]);
while (seen.length < 3) await new Promise((resolve) => setTimeout(resolve, 20));
await boss.stop();
console.log(JSON.stringify({ seen, spans: globalThis.otel.spans() }));
