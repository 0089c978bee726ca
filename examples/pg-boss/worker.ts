import { tasks } from "./tasks.js";
import { startTelemetry } from "./telemetry.js";

const sdk = startTelemetry("mailer");

await tasks.work();
await tasks.idle(); // a worker that stays would wait for SIGTERM instead
await tasks.shutdown();
await sdk.shutdown();

// Output, in the trace of the producer:
//
// trace bbcc1d07e842b671497ff835911e7a60 · 2 spans · 1.07s
//                   0       200ms   400ms   600ms   800ms  1s
// process sendEmail ▏···················                        2.6ms  attempt 0 of 3 ↻ retry in 500ms
//   plan=enterprise · waited 5.58s
//    +2.1ms  info  Sending address=ada@example.com
//    +2.6ms  ✗ Error: the mail server is down
// process sendEmail                      ░░░░░░░░░░░░░░░░░░░░▏  502µs  attempt 1 of 3 ✓ success
//   plan=enterprise · waited 542ms
//    +1.07s  info  Sending address=ada@example.com
//    +1.07s  info  Sent plan=enterprise
//
