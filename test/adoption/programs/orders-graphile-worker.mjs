// A service with graphile-worker, which knows nothing of this library.
import { makeWorkerUtils, run } from "graphile-worker";
import { serve } from "./orders.mjs";

const options = { connectionString: process.env.DATABASE_URL, logger: silent() };
const utils = await makeWorkerUtils(options);
await utils.migrate();
await serve({
  // the lowest is the first
  add: async (payload, priority) => (await utils.addJob("orders", payload, { maxAttempts: 1, priority: -priority })).id,
  run: async (handle) => {
    const taskList = { orders: async (payload, { job }) => handle(job.id, payload) };
    const runner = await run({ ...options, taskList, concurrency: 10, pollInterval: 50, noHandleSignals: true });
    return () => runner.stop();
  },
});
await utils.release();

function silent() {
  const nothing = () => {};
  return { error: nothing, warn: nothing, info: nothing, debug: nothing, scope: silent };
}
