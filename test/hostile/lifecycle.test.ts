import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";

// What an application does with its SDK before it runs a task, and with its exporter.
const prelude = `
  import { NodeSDK } from "@opentelemetry/sdk-node";
  import { AlwaysOffSampler, BatchSpanProcessor, SimpleSpanProcessor } from "@opentelemetry/sdk-trace";
  import { getTaskContext, TaskManager, taskLog } from "./src/index.ts";
  import { TaskSpanProcessor } from "./src/sdk/index.ts";
  const quiet = { instrumentations: [], metricReaders: [], logRecordProcessors: [] };
  const start = (exporter, options = {}) => {
    const spanProcessors = [new TaskSpanProcessor(), new SimpleSpanProcessor({ exporter }), new BatchSpanProcessor({ exporter })];
    const sdk = new NodeSDK({ ...quiet, spanProcessors, ...options });
    sdk.start();
    return sdk;
  };
  const done = { shutdown: async () => {}, forceFlush: async () => {} };
  const fine = { ...done, export: (_spans, callback) => callback({ code: 0 }) };
`;

const job = `
  const results = [];
  const tasks = new TaskManager({ onSuccess: ({ context }) => void results.push(context.taskId) });
  const flaky = tasks.task({ name: "flaky", retries: 1 }, async () => {
    taskLog("working");
    await null;
    if (getTaskContext().attempt === 0) throw new Error("once");
  });
  const ids = await Promise.all([tasks.addTask(flaky), tasks.addTask(flaky)]);
  const report = await tasks.shutdown();
  console.log(JSON.stringify([results.sort().join() === ids.sort().join(), report]));
`;

const rejects = 'async () => { throw new Error("no"); }';
const stopAtEnd = 'process.once("beforeExit", () => sdk.shutdown().catch(() => {}));';

async function run(setUp: string): Promise<unknown> {
  const args = ["--import", "tsx", "--input-type=module", "--eval", prelude + setUp + job];
  const env = { ...process.env, OTEL_LOG_LEVEL: "none" };
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 150_000, env });
  return JSON.parse(stdout);
}

describe("tasks end as they should, and the process exits by itself", () => {
  test.each([
    ["an SDK that was never started", ""],
    ["an SDK that is shut down already", "await start(fine).shutdown();"],
    ["every span sampled off", "start(fine, { sampler: new AlwaysOffSampler() });"],
    ["an exporter that throws", 'start({ ...done, export() { throw new Error("no"); } });'],
    ["an exporter that never answers", "start({ ...done, export() {} });"],
    // the SDK lets such a rejection out itself; an application that survives it has its tasks unharmed
    ["an exporter that rejects", `process.on("unhandledRejection", () => {}); start({ ...done, export: ${rejects} });`],
    ["an exporter that cannot be shut down", `const sdk = start({ ...fine, shutdown: ${rejects} }); ${stopAtEnd}`],
    [
      "an exporter that fails",
      "start({ ...done, export: (_spans, callback) => callback({ code: 1, error: new Error() }) });",
    ],
  ])("with %s", async (_title, setUp) => {
    expect(await run(setUp)).toEqual([true, { completed: 2, abandoned: [] }]);
  });
});
