import { fileURLToPath } from "node:url";
import { carryAttempt, getTaskContext, TaskManager, taskLog } from "otel-taskflow";
import { Piscina } from "piscina";
import { stopTelemetry } from "./telemetry.js";

const pool = new Piscina({
  filename: fileURLToPath(new URL("./checksum.ts", import.meta.url)),
  name: "checksum",
  maxThreads: 1,
  execArgv: ["--import", new URL("./tsx.js", import.meta.url).href],
});
const tasks = new TaskManager();

// The task, its retries and its timeout stay here; what takes the CPU goes to a thread.
const publish = tasks.task({ name: "publish", retries: 1, delay: 100, timeout: 30_000 }, async (file: string) => {
  const signal = getTaskContext()?.signal ?? null; // on timeout, piscina stops the thread
  const sum = await pool.run({ carrier: carryAttempt(), file }, { signal });
  taskLog("published", { file, sum });
});

await tasks.addTask(publish, ["a.png"], { tags: { plan: "pro" } });
await tasks.shutdown();
await pool.close();
await stopTelemetry();

// Output, apart from ids and times, and from who prints first:
//
// trace c3a04e97e018093fdb3a25f1480336e6 · 1 span · 5.6ms
//                  0          1ms        2ms        3ms        4ms        5ms
// continue publish ██████████████████████████████████████████████████████████████  5.6ms  ✗ RangeError
//    +1.2ms  info  adding up file=a.png plan=pro
//    +5.5ms  ✗ RangeError: the file is still being written
//
// trace c3a04e97e018093fdb3a25f1480336e6 · continued · 1 span · 13ms
//                  149ms 150ms 151ms 152ms 153ms 154ms 155ms 156ms 157ms  158ms 159ms 160ms
// continue publish ████████████████████████████████████████████████████████████████████████████   13ms
//    +149ms  info  adding up file=a.png plan=pro
//
// trace c3a04e97e018093fdb3a25f1480336e6 · 3 spans · 1.78s
//                    0           500ms      1s          1.5s
// enqueue publish    ▏                                          7.2ms
// │ plan=pro
// ├─ process publish ░█████████████████████████████████████···  1.64s  attempt 0 of 2 ↻ retry in 100ms
// │    waited 22ms
// │     +1.66s  ✗ RangeError: the file is still being written
// └─ process publish                                         ▏   17ms  attempt 1 of 2 ✓ success
//       +1.78s  info  published file=a.png sum=068323ef
