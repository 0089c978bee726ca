import { dataCases } from "./adapter/data.js";
import { endingCases } from "./adapter/endings.js";
import { outputCases } from "./adapter/outputs.js";
import { sendingCases } from "./adapter/sending.js";
import { traceCases } from "./adapter/traces.js";
import { workerCases } from "./adapter/workers.js";
import type { Backend } from "./backends.js";
import { describeCases } from "./rig.js";
import type { Road } from "./roads.js";

/** What `sendJob` and `workTask` do, over a real pg-boss; on another road the same as far as that promises it. */
export function describeAdapter(backend: Backend, road?: Road): void {
  describeCases(backend, [dataCases, traceCases, sendingCases, endingCases, outputCases, workerCases], road);
}
