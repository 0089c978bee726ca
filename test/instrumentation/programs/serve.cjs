// Adds three jobs, one after the other, for a handler to run, and prints what was seen. Queue and worker are made at once;
// with LATE, OpenTelemetry starts after the first job, and with DISABLE, the instrumentation is disabled after the second.
exports.serve = async function serve({ Queue, Worker, getTaskContext }) {
  const connection = JSON.parse(process.env.CONNECTION);
  const name = `served-${crypto.randomUUID()}`;
  const seen = [];
  const queue = new Queue(name, { connection });
  async function charge(job) {
    const { taskId, funcName } = getTaskContext() ?? {};
    seen.push({ same: taskId === job.id, funcName, data: job.data, isTold: this === worker });
  }
  const worker = new Worker(name, charge, { connection });
  const until = async (count) => {
    while (seen.length < count || (await queue.getActiveCount()) > 0) await new Promise((next) => setTimeout(next, 10));
  };
  await queue.add("first", { n: 1 });
  await until(1);
  if (process.env.LATE) globalThis.otel.start();
  await queue.add("second", { n: 2 });
  await until(2);
  if (process.env.DISABLE) globalThis.otel.instrumentation.disable();
  await queue.addBulk([{ name: "third", data: { n: 3 } }]);
  await until(3);
  const stored = await queue.getJobs(["completed"]);
  await worker.close();
  await queue.obliterate({ force: true });
  await queue.close();
  const { spans } = globalThis.otel;
  const options = stored.map(({ opts }) => Object.keys(opts).includes("otel-taskflow"));
  console.log(JSON.stringify({ seen, spans: spans(), options }));
  process.exit(0);
};
