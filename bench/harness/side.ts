// The process of one side: sets it up, then runs a round each time the parent asks for one.
import type { Measurement } from "./measurement.js";

const [file = "", index = "0", side = "ours"] = process.argv.slice(2);
const { measurements } = (await import(file)) as { measurements: readonly Measurement[] };
const measurement = measurements[Number(index)];
const setUp = side === "peer" ? measurement?.peer : measurement?.ours;
if (setUp === undefined) throw new Error(`${file} has no measurement ${index} with a side "${side}"`);
const round = await setUp();

process.on("message", async () => {
  process.send?.(await round());
});
process.send?.("ready");
