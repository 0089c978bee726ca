import { tasks } from "./tasks.js";
import { startTelemetry } from "./telemetry.js";

const sdk = startTelemetry("mailer");

await tasks.work();
await tasks.idle(); // a worker that stays would wait for SIGTERM instead
await tasks.shutdown();
await sdk.shutdown();

// Output, in the trace of the producer:
//
// trace 2c3adcd4667e9f1fa20a69d0c7a58207 · 2 spans · 616ms
//                   0      100ms  200ms 300ms  400ms  500ms
// process sendEmail ▏·································          3.8ms  attempt 0 of 3 ↻ retry in 500ms
//   plan=enterprise · waited 9.81s
//    +2.6ms  info  Sending address=ada@example.com
//    +3.8ms  ✗ Error: the mail server is down
// process sendEmail                                        ░░▏  435µs  attempt 1 of 3 ✓ success
//   plan=enterprise · waited 42ms
//    +616ms  info  Sending address=ada@example.com
//    +616ms  info  Sent plan=enterprise
