// What two tags on a task cost, against the same without them. REDIS_URL, or the usual port.
import { managerBatches } from "./harness/batches.js";
import { adds, jobs, noop, ours } from "./harness/bullmq-jobs.js";
import type { Measurement, Round } from "./harness/measurement.js";
import { startSdk } from "./harness/sdk.js";

const TAGS = { plan: "enterprise", region: "eu-west-1" };
const common = { unit: "µs", judgement: "ratio", target: 1.15 } as const;

export const measurements: readonly Measurement[] = [
  row("a no-op task of the memory engine, no SDK (P2)", 15, managerBatches),
  row("the same, SDK recording (P4)", 15, (tags) => {
    startSdk();
    return managerBatches(tags);
  }),
  row("an `addJob` of BullMQ, SDK recording (P7)", 12, (tags) => adds(ours(tags))),
  row("a no-op job through `withTask`, SDK recording (P7)", 12, (tags) => jobs(ours(tags), noop)),
];

function row(what: string, rounds: number, side: (tags?: Record<string, string>) => Round): Measurement {
  return { ...common, what: `${what}, with two tags`, rounds, ours: () => side(TAGS), peer: () => side() };
}
