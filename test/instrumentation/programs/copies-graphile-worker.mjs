// Wraps and adds by hand with another copy of the library than the one whose instrumentation serves the module; with
// WRAP, that copy wraps the module as well.
import { createRequire } from "node:module";
import * as graphileWorker from "graphile-worker";
import { getTaskContext } from "otel-taskflow";
import { run } from "./copies.mjs";

const other = createRequire(import.meta.url);
const { TaskManager } = other("otel-taskflow");
const { addJob, carrierOf, graphileEngine, withTask, withTasks } = other("otel-taskflow/graphile-worker");
const { Logger, makeWorkerUtils, run: runWorker } = process.env.WRAP ? withTasks(graphileWorker) : graphileWorker;

const connectionString = process.env.DATABASE_URL;
const options = { connectionString, logger: new Logger(() => () => {}) };

await run(async (see) => {
  const utils = await makeWorkerUtils(options);
  await utils.migrate();
  const handle = (_payload, { job }) =>
    see({ same: getTaskContext()?.taskId === String(job.id), carried: carrierOf(job) !== undefined });
  const taskList = { job: withTask(handle) };
  const runner = await runWorker({ ...options, taskList, pollInterval: 50, noHandleSignals: true });
  await addJob(utils, "job", {}, { tags: { plan: "pro" } });
  return {
    tasks: new TaskManager({ engine: graphileEngine({ run: runWorker, makeWorkerUtils, connectionString }) }),
    stop: async () => {
      await runner.stop();
      await utils.release();
    },
  };
});
