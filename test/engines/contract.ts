import { afterAll, beforeAll, describe } from "vitest";
import { stopTelemetry, useContextManager, usePropagator } from "../support/telemetry.js";
import { describeUnavailable } from "../support/unavailable.js";
import { argumentCases } from "./contract/arguments.js";
import { baggageCases } from "./contract/baggage.js";
import { cancelCases } from "./contract/cancel.js";
import { contractOf } from "./contract/case.js";
import { contextCases } from "./contract/context.js";
import { endingCases } from "./contract/endings.js";
import { hookCases } from "./contract/hooks.js";
import { idleInTaskCases } from "./contract/idle-in-task.js";
import { idCases } from "./contract/ids.js";
import { ledgerCases } from "./contract/ledger.js";
import { liveIdCases } from "./contract/live-ids.js";
import { metricCases } from "./contract/metrics.js";
import { processCases } from "./contract/processes.js";
import { raceCases } from "./contract/races.js";
import { retryCases } from "./contract/retries.js";
import { runnerPolicyCases } from "./contract/runner-policy.js";
import { shutdownCases } from "./contract/shutdown.js";
import { storedTaskCases } from "./contract/stored-tasks.js";
import { traceCases } from "./contract/trace.js";
import { untrustedDataCases } from "./contract/untrusted-data.js";
import { workCases } from "./contract/work.js";
import { reportOf, writeReport } from "./report.js";
import type { EngineWorld } from "./world.js";

const SECTIONS = [
  workCases,
  contextCases,
  retryCases,
  traceCases,
  baggageCases,
  metricCases,
  hookCases,
  endingCases,
  argumentCases,
  storedTaskCases,
  untrustedDataCases,
  liveIdCases,
  idCases,
  cancelCases,
  shutdownCases,
  runnerPolicyCases,
  raceCases,
  processCases,
  idleInTaskCases,
  ledgerCases,
];

/**
 * What every engine does, over a real connection. Only an engine's capabilities switch cases off; a world that is
 * unavailable is skipped with its reason, and fails under CI=true.
 */
export function describeEngine(world: EngineWorld): void {
  if (world.unavailable !== undefined) {
    describeUnavailable(world.title, world.unavailable);
    return;
  }
  describe(world.title, { concurrent: world.serial !== true, timeout: 30_000 }, async () => {
    const contract = await contractOf(world);
    beforeAll(() => {
      useContextManager();
      usePropagator();
    });
    // biome-ignore lint/correctness/noEmptyPattern: vitest reads the pattern, and wants one
    afterAll(({}, { tasks }) => {
      stopTelemetry();
      const { name, system, capabilities } = contract;
      const sections = tasks.flatMap((task) => (task.type === "suite" ? reportOf(task) : []));
      const { title, singleProcess } = world;
      writeReport({ title, name, system, capabilities, singleProcess, sections });
    });
    for (const describeSection of SECTIONS) describeSection(contract);
  });
}
