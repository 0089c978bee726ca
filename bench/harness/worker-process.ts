// A process that works on no-op tasks each time its parent says so, and tells how many it has run, and when.
import { type Library, type SideName, WAYS } from "./ways.js";

/** The tasks that a process has run since it was told to start. Milliseconds, on an axis that all processes share. */
export interface Count {
  readonly run: number;
  readonly firstAt: number;
  readonly lastAt: number;
}

const REPORT_MS = 10;

const [library, side, store = ""] = process.argv.slice(2);
const way = await WAYS[library as Library][side as SideName](store);
let stop: () => Promise<unknown> = async () => {};
let reports: NodeJS.Timeout | undefined;
let count = { run: 0, firstAt: 0, lastAt: 0 };
let told = 0;

process.on("message", async (command: "start" | "stop") => {
  clearInterval(reports);
  if (command === "start") await start();
  else await stop();
  process.send?.(command);
});
process.once("disconnect", () => process.exit());
process.send?.("open");

async function start(): Promise<void> {
  count = { run: 0, firstAt: 0, lastAt: 0 };
  told = 0;
  reports = setInterval(report, REPORT_MS);
  stop = await way.work(noop);
}

async function noop(): Promise<void> {
  count.lastAt = performance.timeOrigin + performance.now();
  if (count.run === 0) count.firstAt = count.lastAt;
  count.run += 1;
}

function report(): void {
  if (count.run === told) return;
  told = count.run;
  process.send?.(count satisfies Count);
}
