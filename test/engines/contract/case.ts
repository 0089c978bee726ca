import { type TaskEngine, TaskManager } from "otel-taskflow";
import { test } from "vitest";
import type { EngineWorld } from "../world.js";
import { openRig } from "./rig.js";

const CLOSES_WITHIN_MS = 20_000;

/** One kind of engine under test: what it says of itself, and how a case of it is written. */
export interface Contract extends Pick<TaskEngine, "name" | "system" | "capabilities"> {
  readonly world: EngineWorld;
  /** A case every engine passes; it gets a rig of its own. */
  readonly test: RigTest;
  /** A case only engines pass whose tasks outlive the process. */
  readonly durable: ReturnType<RigTest["skipIf"]>;
  /** A case that needs other processes to reach the store. */
  readonly acrossProcesses: ReturnType<RigTest["skipIf"]>;
}

type RigTest = ReturnType<typeof withRig>;

/** Asks one engine of this world what it is. */
export async function contractOf(world: EngineWorld): Promise<Contract> {
  const store = await world.create();
  const engine = store.engine();
  await new TaskManager({ engine }).shutdown();
  await store.close();
  const { name, system, capabilities } = engine;
  const test = withRig(world);
  const durable = test.skipIf(!capabilities.durable);
  const acrossProcesses = test.skipIf(!capabilities.durable || world.singleProcess !== undefined);
  return { world, name, system, capabilities, test, durable, acrossProcesses };
}

function withRig(world: EngineWorld) {
  return test.extend("rig", async ({ onTestFinished }) => {
    const rig = await openRig(world);
    onTestFinished(() => rig.close(), CLOSES_WITHIN_MS);
    return rig;
  });
}
