// With ROLE=producer, sends the jobs FROM to TO, each in a request of its own, and prints their traces; the last odd ones run
// first. Else it runs jobs until it has run UNTIL of them, refuses whatever it does not know, and prints what it ran.
import { trace } from "@opentelemetry/api";
import { PgBoss } from "pg-boss";

const { DATABASE_URL: connectionString, SCHEMA: schema, ROLE, FROM, TO, UNTIL } = process.env;
const boss = new PgBoss({ connectionString, schema, schedule: false });
await boss.start();
await boss.createQueue("orders", { retryLimit: 0 });

async function send(n) {
  return await trace.getTracer("shop").startActiveSpan("request", { root: true }, async (span) => {
    const id = await boss.send("orders", { n }, { priority: n % 2 === 1 ? n : 0 });
    span.end();
    return [id, span.spanContext().traceId];
  });
}

async function work() {
  const ran = [];
  const refused = [];
  await boss.work("orders", { batchSize: 50, pollingIntervalSeconds: 0.5 }, async (jobs) => {
    for (const { id, data } of jobs) (Object.keys(data).join() === "n" ? ran : refused).push(id);
  });
  while (ran.length + refused.length < Number(UNTIL)) await new Promise((resolve) => setTimeout(resolve, 20));
  await boss.offWork("orders", { wait: true });
  // pg-boss has spans of its own, of the same name
  const spans = globalThis.otel
    .spans()
    .filter(({ name, attempt }) => name === "process orders" && attempt !== undefined);
  return { ran, refused, traceIds: spans.map(({ traceId }) => traceId) };
}

async function produce() {
  const sent = [];
  for (let n = Number(FROM); n < Number(TO); n += 1) sent.push(await send(n));
  return sent;
}

const result = ROLE === "producer" ? await produce() : await work();
await boss.stop();
console.log(JSON.stringify(result));
