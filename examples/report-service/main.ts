import { createAccountsService } from "./accounts-service.js";
import { sdk } from "./instrumentation.js";
import { createReportService } from "./service.js";
import { tasks } from "./tasks.js";

const address = { host: "127.0.0.1", port: 0 };
const accounts = createAccountsService();
const service = createReportService();
process.env.ACCOUNTS_URL = await accounts.listen(address);
const url = await service.listen(address);

console.log(`Asking ${url} for three reports. One request is one trace, printed when its tasks have ended.\n`);
try {
  await requestReport(1, "enterprise");
  await requestReport(2, "free");
  await requestReport(13, "free");
} finally {
  await stop();
}

async function requestReport(userId: number, plan: string): Promise<void> {
  const response = await fetch(`${url}/report`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ userId, plan }),
  });
  const text = await response.text();
  if (response.status !== 202) throw new Error(`POST /report answered ${response.status}: ${text}`);
}

// No new requests, then the tasks they left behind, then the telemetry of those tasks.
async function stop(): Promise<void> {
  await service.close();
  const { abandoned } = await tasks.shutdown();
  await accounts.close();
  await sdk.shutdown().catch(reportUnsent);
  if (abandoned.length === 0) return;
  console.error("Tasks that did not end:", abandoned);
  process.exitCode = 1;
}

// The reports are made, whatever becomes of their telemetry.
function reportUnsent({ message, code }: { message?: string; code?: string | number }): void {
  console.error(`The telemetry was not sent: ${message || code}`);
}

// Output, apart from ids and times:
//
// Asking http://127.0.0.1:41443 for three reports. One request is one trace, printed when its tasks have ended.
//
// trace 939234fa4e4068ce959d1a9097a92098 · 10 spans · 23ms
//                                           0          10ms
// POST                                      ███████████                9.7ms
// └─ POST /report                                   █                  803µs
//    ├─ enqueue generateReport                      ▏                   74µs
//    │  │ plan=free source=api
//    │  └─ process generateReport                   ░██████            6.1ms  attempt 0 of 3 ✓ success
//    │     │    +8ms  info  Generating report userId=2 plan=free
//    │     │  +8.1ms  info  Loading everything sections=["orders"]
//    │     └─ GET                                    ██████            5.4ms
//    │        └─ GET /users/:userId/orders              ▏              329µs
//    │         +14ms  info  Report ready orders=1250
//    └─ enqueue sendEmail                           ▏                   30µs
//       │ plan=free source=api
//       └─ process sendEmail                        ░████████████████   15ms  attempt 0 of 3 ✓ success
//          │    +8ms  info  Sending email subject="Your report is on its way"
//          └─ POST                                    ███████████████   14ms
//             └─ POST /users/:userId/emails                      ▏     406µs
//
// trace cd6651ab64eefb20e97fc281f87910eb · 10 spans · 14ms
//                                           0        5ms      10ms
// POST                                      ██████████                 5.3ms
// └─ POST /report                             █                        852µs
//    ├─ enqueue generateReport                  ▏                       56µs
//    │  │ plan=free source=api
//    │  └─ process generateReport               ░░░██████████████      7.6ms  attempt 0 of 3 ✓ success
//    │     │    +4ms  info  Generating report userId=13 plan=free
//    │     │  +4.1ms  info  Loading everything sections=["orders"]
//    │     └─ GET                                  █████████████       6.8ms
//    │        └─ GET /users/:userId/orders                 █           340µs
//    │         +12ms  info  Report ready orders=1250
//    └─ enqueue sendEmail                       ▏                       26µs
//       │ plan=free source=api
//       └─ process sendEmail                    ░░░██████████████████  9.5ms  attempt 0 of 3 ✗ failure
//          │    +4ms  info  Sending email subject="Your report is on its way"
//          └─ POST                                   ████████████████  8.7ms  ✗ 422
//             └─ POST /users/:userId/emails                       █    447µs
//              +14ms  ✗ NonRetryableError: POST /users/13/emails answered 422: no such mailbox
//
// trace 485e87ace6b6d6be992c2c6f48aea66e · 18 spans · 643ms
//                                            0
// POST                                       ▏                   16ms
// └─ POST /report                            ▏                    6ms
//    ├─ enqueue generateReport               ▏                  532µs
//    │  │ plan=enterprise source=api
//    │  ├─ process generateReport            █·····              23ms  attempt 0 of 3 ↻ retry in 200ms
//    │  │  │   +13ms  info  Generating report userId=1 plan=enterprise
//    │  │  │   +13ms  info  Loading everything sections=["orders","invoices"]
//    │  │  ├─ GET                            ▏                  8.8ms
//    │  │  │  └─ GET /users/:userId/orders    ▏                 643µs
//    │  │  └─ GET                             ▏                  12ms  ✗ 503
//    │  │     └─ GET /users/:userId/invoices  ▏                 291µs  ✗ 503
//    │  │      +36ms  ✗ Error: GET /users/1/invoices answered 503: down for maintenance
//    │  ├─ process generateReport                  ▏··········  2.7ms  attempt 1 of 3 ↻ retry in 400ms
//    │  │  │  +237ms  info  Generating report userId=1 plan=enterprise
//    │  │  │  +237ms  warn  Loading only what is missing sections=["invoices"]
//    │  │  └─ GET                                  ▏            1.5ms  ✗ 503
//    │  │     └─ GET /users/:userId/invoices       ▏            546µs  ✗ 503
//    │  │     +240ms  ✗ Error: GET /users/1/invoices answered 503: down for maintenance
//    │  └─ process generateReport                            ▏  2.6ms  attempt 2 of 3 ✓ success
//    │     │  +640ms  info  Generating report userId=1 plan=enterprise
//    │     │  +640ms  warn  Loading only what is missing sections=["invoices"]
//    │     └─ GET                                            ▏  1.3ms
//    │        └─ GET /users/:userId/invoices                 ▏  409µs
//    │        +643ms  info  Report ready orders=1250 invoices=980
//    └─ enqueue sendEmail                    ▏                   54µs
//       │ plan=enterprise source=api
//       └─ process sendEmail                 ▏                   14ms  attempt 0 of 3 ✓ success
//          │   +14ms  info  Sending email subject="Your report is on its way"
//          └─ POST                           ▏                   13ms
//             └─ POST /users/:userId/emails   ▏                 869µs
