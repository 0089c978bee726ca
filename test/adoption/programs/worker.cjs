// Runs jobs until it has run UNTIL of them, then prints what each run saw. Every tenth job fails at its first attempt.
const { given } = require("./telemetry.cjs");
const { trace } = require("@opentelemetry/api");
const { Worker } = require("bullmq");
const { getTaskContext } = require("otel-taskflow");

const { QUEUE, UNTIL } = process.env;
const runs = [];

async function charge(job) {
  const traceId = trace.getActiveSpan()?.spanContext().traceId;
  const { taskId, attempt } = getTaskContext() ?? {};
  runs.push({ id: job.id, attemptsMade: job.attemptsMade, traceId, taskId, attempt });
  if (runs.length === Number(UNTIL)) void end();
  if (job.data.n % 10 === 0 && job.attemptsMade === 0) throw new Error("the bank did not answer");
}

const worker = new Worker(QUEUE, charge, { ...given, concurrency: 10 });
worker.on("error", () => {});

async function end() {
  await worker.close();
  console.log(JSON.stringify(runs));
  process.exit(0);
}
