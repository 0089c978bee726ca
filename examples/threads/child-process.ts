import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { resizeAll } from "./resize-all.js";
import { stopTelemetry } from "./telemetry.js";

const child = fork(fileURLToPath(new URL("./resize-process.ts", import.meta.url)));

await resizeAll(
  [640, 0],
  (job) => child.send(job),
  (take) => child.on("message", take),
);

child.disconnect();
await once(child, "exit");
await stopTelemetry();

// Output, apart from ids and times, and from who prints first:
//
// 0: gave up, NonRetryableError: the width has to be positive
// 640: 640 pixels wide by attempt 1
// trace 3d2e2c037d75b0c8f6d1a16dd5a6e2bc · 2 spans · 121ms
//                0        20ms    40ms     60ms    80ms     100ms
// process resize █                                                     1.4ms  attempt 0 of 3 ↻ retry
//   plan=pro · waited 2.22s
//    +1.3ms  info  resizing width=640 plan=pro
//    +1.4ms  ✗ Error: out of memory
// process resize                                                    ▏  281µs  attempt 1 of 3 ✓ success
//   plan=pro
//    +121ms  info  resizing width=640 plan=pro
//
// trace b878367c8fed89bbe3edcfa81a761cec · 1 span · 325µs
//                0       50µs    100µs   150µs   200µs   250µs
// process resize ████████████████████████████████████████████████████  325µs  attempt 0 of 3 ✗ failure
//   plan=pro · waited 2.23s
//    +218µs  info  resizing width=0 plan=pro
//    +325µs  ✗ NonRetryableError: the width has to be positive
//
// trace 3d2e2c037d75b0c8f6d1a16dd5a6e2bc · 1 span · 11ms
//                0      1ms     2ms    3ms    4ms     5ms    6ms    7ms     8ms    9ms    10ms
// enqueue resize ██████████████████████████████████████████████████████████████████████████████   11ms
//   plan=pro
//
// trace b878367c8fed89bbe3edcfa81a761cec · 1 span · 198µs
//                0       20µs    40µs    60µs    80µs   100µs   120µs   140µs   160µs   180µs
// enqueue resize ██████████████████████████████████████████████████████████████████████████████  198µs
//   plan=pro
