import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { resizeAll } from "./resize-all.js";
import { stopTelemetry } from "./telemetry.js";

const execArgv = ["--import", new URL("./tsx.js", import.meta.url).href];
const thread = new Worker(new URL("./resize-thread.ts", import.meta.url), { execArgv });

await resizeAll(
  [640, 0],
  (job) => thread.postMessage(job),
  (take) => thread.on("message", take),
);

thread.postMessage("stop");
await once(thread, "exit"); // not terminate(): that would lose the thread's last spans
await stopTelemetry();

// Output, apart from ids and times, and from who prints first:
//
// 0: gave up, NonRetryableError: the width has to be positive
// 640: 640 pixels wide by attempt 1
// trace 2de2fc2ebb13b2de7d215bd7d44e2824 · 2 spans · 138ms
//                0       20ms   40ms    60ms   80ms    100ms  120ms
// process resize █                                                     2.3ms  attempt 0 of 3 ↻ retry
//   plan=pro · waited 1.45s
//    +2.1ms  info  resizing width=640 plan=pro
//    +2.3ms  ✗ Error: out of memory
// process resize                                                    ▏  165µs  attempt 1 of 3 ✓ success
//   plan=pro
//    +138ms  info  resizing width=640 plan=pro
//
// trace 26e42e116ff4b3c5391adee082efc1a8 · 1 span · 343µs
//                0       50µs   100µs   150µs  200µs   250µs  300µs
// process resize ████████████████████████████████████████████████████  343µs  attempt 0 of 3 ✗ failure
//   plan=pro · waited 1.48s
//    +226µs  info  resizing width=0 plan=pro
//    +343µs  ✗ NonRetryableError: the width has to be positive
//
// trace 2de2fc2ebb13b2de7d215bd7d44e2824 · 1 span · 6.7ms
//                0           1ms        2ms         3ms        4ms         5ms         6ms
// enqueue resize ██████████████████████████████████████████████████████████████████████████████  6.7ms
//   plan=pro
//
// trace 26e42e116ff4b3c5391adee082efc1a8 · 1 span · 139µs
//                0          20µs       40µs        60µs       80µs       100µs      120µs
// enqueue resize ██████████████████████████████████████████████████████████████████████████████  139µs
//   plan=pro
