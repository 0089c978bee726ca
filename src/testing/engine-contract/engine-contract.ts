import { type Case, type Section, suits } from "./case.js";
import { type ContractTelemetry, runCase } from "./run-case.js";
import { argumentCases } from "./sections/arguments.js";
import { baggageCases } from "./sections/baggage.js";
import { cancelCases } from "./sections/cancel.js";
import { cancelFromWithinCases } from "./sections/cancel-from-within.js";
import { cancelHookCases } from "./sections/cancel-hook.js";
import { cancelTogetherCases } from "./sections/cancel-together.js";
import { contextCases } from "./sections/context.js";
import { endingCases } from "./sections/endings.js";
import { hookCases } from "./sections/hooks.js";
import { idleInTaskCases } from "./sections/idle-in-task.js";
import { idCases } from "./sections/ids.js";
import { ledgerCases } from "./sections/ledger.js";
import { liveIdCases } from "./sections/live-ids.js";
import { metricCases } from "./sections/metrics.js";
import { raceCases } from "./sections/races.js";
import { retryCases } from "./sections/retries.js";
import { runnerPolicyCases } from "./sections/runner-policy.js";
import { shutdownCases } from "./sections/shutdown.js";
import { storedTaskCases } from "./sections/stored-tasks.js";
import { traceCases } from "./sections/trace.js";
import { untrustedDataCases } from "./sections/untrusted-data.js";
import { workCases } from "./sections/work.js";
import type { EngineWorld } from "./world.js";

const SECTIONS: readonly Section[] = [
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
  cancelHookCases,
  cancelTogetherCases,
  cancelFromWithinCases,
  shutdownCases,
  runnerPolicyCases,
  raceCases,
  idleInTaskCases,
  ledgerCases,
];

/** Declares one test, as `test` of node:test, vitest and jest does. */
export interface ContractTest {
  (name: string, fn: () => Promise<void>): unknown;
  skip(name: string, fn: () => Promise<void>): unknown;
}

/** Names where the contract declares its cases, and the engine they are about. */
export interface EngineContractOptions {
  /** Declares one case; `test.skip` one that the world is not made for. */
  readonly test: ContractTest;
  /** Declares a section; whoever gives none finds its title in front of the names of its cases. */
  readonly describe?: ((name: string, fn: () => void) => unknown) | undefined;
  /** The engine, and where it keeps tasks. */
  readonly world: EngineWorld;
  /** Milliseconds one case may take; the runner's own limit must be 20 seconds longer. Default 30,000. */
  readonly timeout?: number | undefined;
  /** Looks at the telemetry of each case when it is over; what it throws fails the case. Default: nobody does. */
  readonly inspect?: ((telemetry: ContractTelemetry) => void) | undefined;
}

/**
 * Declares a test for each rule that every engine keeps. Each has a store of its own, which it closes in the end,
 * whatever happens; so they may run at the same time.
 *
 * A context manager and the W3C propagators for trace context and baggage must be registered with OpenTelemetry when
 * the tests run: each fails at once where one is missing. No SDK is needed, none is touched, and spans and metrics go
 * nowhere.
 */
export function engineContract({ test, describe, world, timeout = 30_000, inspect }: EngineContractOptions): void {
  const declare = (cases: readonly Case[], prefix: string): void => {
    for (const one of cases) {
      const run = (): Promise<void> => runCase(one, world, { ms: timeout, inspect });
      if (suits(one, world)) test(prefix + one.name, run);
      else test.skip(prefix + one.name, run);
    }
  };
  for (const { title, cases } of SECTIONS) {
    if (describe === undefined) declare(cases, `${title}: `);
    else describe(title, () => declare(cases, ""));
  }
}
