// Adds the jobs FROM to TO, each in a request of its own, and prints their traces. Odd ones are to run before all others.
const { given } = require("./telemetry.cjs");
const { trace } = require("@opentelemetry/api");
const { Queue } = require("bullmq");

const { QUEUE, FROM, TO } = process.env;
const queue = new Queue(QUEUE, given);
const tracer = trace.getTracer("shop");

async function add(n) {
  return await tracer.startActiveSpan("request", { root: true }, async (span) => {
    await queue.add("charge", { n }, { jobId: `order-${n}`, attempts: 2, lifo: n % 2 === 1 });
    span.end();
    return [`order-${n}`, span.spanContext().traceId];
  });
}

async function main() {
  const added = [];
  for (let n = Number(FROM); n < Number(TO); n += 1) added.push(await add(n));
  await queue.close();
  console.log(JSON.stringify(added));
}

void main();
