// A service with graphile-worker, which knows nothing of this library but getTaskContext().
import { makeWorkerUtils, quickAddJob, run } from "graphile-worker";
import { getTaskContext } from "otel-taskflow";

const options = { connectionString: process.env.DATABASE_URL, logger: silent() };
const seen = [];
const taskList = {
  first: async (_payload, helpers) => {
    see(helpers);
    await helpers.addJob("second", {});
  },
  second: async (_payload, helpers) => see(helpers),
  third: async (_payload, helpers) => see(helpers),
};
const utils = await makeWorkerUtils(options);
await utils.migrate();
const runner = await run({ ...options, taskList, pollInterval: 50, noHandleSignals: true });
await utils.addJob("first", {});
await quickAddJob(options, "third", {});
while (seen.length < 3) await new Promise((resolve) => setTimeout(resolve, 20));
await runner.stop();
await utils.release();
console.log(JSON.stringify({ seen, spans: globalThis.otel.spans() }));

function see({ job }) {
  seen.push({ name: job.task_identifier, same: getTaskContext()?.taskId === String(job.id) });
}

function silent() {
  const nothing = () => {};
  return { error: nothing, warn: nothing, info: nothing, debug: nothing, scope: silent };
}
