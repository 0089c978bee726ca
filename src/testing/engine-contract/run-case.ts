import type { RecordedSpan } from "../recorded-span.js";
import type { Measurement } from "../recorder.js";
import { soon } from "./assertions.js";
import type { Case } from "./case.js";
import { checkRegistered } from "./registered.js";
import { Rig } from "./rig.js";
import type { EngineWorld } from "./world.js";

const CLOSES_WITHIN_MS = 20_000;

/** What a case has recorded of this library's telemetry, and of what else it called. */
export interface ContractTelemetry {
  /** Those that have ended, in order of their end. */
  readonly spans: readonly RecordedSpan[];
  /** In order of their calls. */
  readonly measurements: readonly Measurement[];
}

/** The way a case is run. */
export interface CaseOptions {
  /** Milliseconds that it may take. */
  readonly ms: number;
  /** Looks at what it has recorded, and fails it by throwing. Default: nobody does. */
  readonly inspect?: ((telemetry: ContractTelemetry) => void) | undefined;
}

/** Runs a case on a rig of its own, and closes that whatever becomes of the case, also where it takes too long. */
export async function runCase(
  { name, run }: Pick<Case, "name" | "run">,
  world: EngineWorld,
  { ms, inspect }: CaseOptions,
): Promise<void> {
  checkRegistered();
  const rig = new Rig(world, await world.create());
  let failed = true;
  try {
    checkWorld(rig);
    await soon(name, run(rig), ms);
    failed = false;
  } finally {
    const closing = soon("closing", rig.close(), CLOSES_WITHIN_MS);
    // of two errors, the case's own says more
    await (failed ? closing.catch(() => {}) : closing);
  }
  inspect?.({ spans: rig.spans(), measurements: rig.measurements });
}

function checkWorld({ world, engine }: Rig): void {
  const { durable } = engine.capabilities;
  if (durable === world.durable) return;
  throw new Error(`${world.title}: the world says durable: ${world.durable}, its engine's capabilities ${durable}`);
}
