import { tasks } from "./tasks.js";
import { startTelemetry } from "./telemetry.js";

const sdk = startTelemetry("billing");

await tasks.work();
await tasks.idle(); // a worker that stays would wait for SIGTERM instead
await tasks.shutdown();
await sdk.shutdown();

// Output, in the trace of the producer:
//
// trace 6a2f8f0d2087ef2403c7fc926492c68f · 4 spans · 1.03s
//                           0      200ms 400ms  600ms 800ms
// process chargeCard        ▏················                   2.1ms  attempt 0 of 3 ↻ retry in 500ms
//   currency=EUR · waited 4.26s
//    +1.6ms  info  Charging order=42
//    +2.1ms  ✗ Error: the bank is busy
// process chargeCard                         ░░░░░░░░░░░░░░░░▏  8.5ms  attempt 1 of 3 ✓ success
// │ currency=EUR · waited 496ms
// │  +1.02s  info  Charging order=42
// │  +1.02s  info  Charged currency=EUR
// └─ enqueue sendReceipt                                     ▏  6.5ms
//    └─ process sendReceipt                                  ▏  325µs  attempt 0 of 1 ✓ success
//          +1.03s  info  Sent order=42
//
