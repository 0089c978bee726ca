import { type TaskEngine, TaskManager } from "otel-taskflow";
import {
  type ContractTelemetry,
  type EngineWorld as ContractWorld,
  engineContract,
} from "otel-taskflow/testing/engine-contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stopTelemetry, useContextManager, usePropagator } from "../support/telemetry.js";
import { describeUnavailable } from "../support/unavailable.js";
import { adviseMeasurement, adviseSpan } from "../telemetry/live-check.js";
import { readRegistry } from "../telemetry/registry.js";
import { describeProcesses } from "./processes.js";
import { reportOf, writeReport } from "./report.js";
import type { EngineWorld } from "./world.js";

const registry = readRegistry();

type AnyWorld = ContractWorld & Partial<Pick<EngineWorld, "unavailable" | "serial" | "singleProcess" | "module">>;

/**
 * Holds an engine to the contract over a real connection. Only the engine's capabilities switch cases off; a world that
 * is unavailable is skipped with its reason, and fails under CI=true.
 */
export function describeEngine(world: AnyWorld): void {
  if (world.unavailable !== undefined) {
    describeUnavailable(world.title, world.unavailable);
    return;
  }
  describe(world.title, { concurrent: world.serial !== true }, async () => {
    const facts = await factsOf(world);
    beforeAll(() => {
      useContextManager();
      usePropagator();
    });
    // biome-ignore lint/correctness/noEmptyPattern: vitest reads the pattern, and wants one
    afterAll(({}, { tasks }) => {
      stopTelemetry();
      const { title, singleProcess } = world;
      const sections = tasks.flatMap((task) => (task.type === "suite" ? reportOf(task) : []));
      writeReport({ title, ...facts, singleProcess, sections });
    });
    engineContract({ test, describe, world, inspect: checkTelemetry });
    describeProcesses(world);
  });
}

// every span and every measurement of every case is one that the registry knows
function checkTelemetry({ spans, measurements }: ContractTelemetry): void {
  const own = spans.filter(({ scope }) => scope === "otel-taskflow");
  const advice = [
    ...own.flatMap((span) => adviseSpan(registry, span)),
    ...measurements.flatMap((measurement) => adviseMeasurement(registry, measurement)),
  ];
  expect([...new Set(advice)]).toEqual([]);
}

/** Asks one engine of this world what it is. */
async function factsOf(world: ContractWorld): Promise<Pick<TaskEngine, "name" | "system" | "capabilities">> {
  const store = await world.create();
  const engine = store.engine();
  await new TaskManager({ engine }).shutdown();
  await store.close();
  const { name, system, capabilities } = engine;
  return { name, system, capabilities };
}
