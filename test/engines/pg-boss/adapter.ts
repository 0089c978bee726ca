import { dataCases } from "./adapter/data.js";
import { endingCases } from "./adapter/endings.js";
import { outputCases } from "./adapter/outputs.js";
import { sendingCases } from "./adapter/sending.js";
import { traceCases } from "./adapter/traces.js";
import { workerCases } from "./adapter/workers.js";
import type { Backend } from "./backends.js";
import { describeCases } from "./rig.js";

/** What `sendJob` and `workTask` do, over a real pg-boss. */
export function describeAdapter(backend: Backend): void {
  describeCases(backend, [dataCases, traceCases, sendingCases, endingCases, outputCases, workerCases]);
}
