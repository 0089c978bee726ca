import { readFile } from "node:fs/promises";
import { isMainThread } from "node:worker_threads";
import { type Notice, tellUnlessWrapped } from "./unwrapped.js";

/** A text of BullMQ's that a minifier leaves alone: seen in BullMQ 5.0, 5.81 and 6.7. No text here is the same. */
const HOLDS_BULLMQ = /BullMQ[:] WARNING! Your redis options/;
const NOTICE: Notice = {
  library: "bullmq",
  text:
    "BullMQ is a part of the bundle that was started, where no instrumentation reaches it: pass the module to " +
    "withTasks() there, or leave bullmq out of the bundle and load the set-up of OpenTelemetry by --import.",
};

let isWatching = false;

/** Tells once, soon or when the process ends, that BullMQ is in the bundle that was started and nobody has wrapped it. */
export function watchBundle(): void {
  const [, started] = process.argv;
  if (isWatching || started === undefined || !isMainThread) return;
  isWatching = true;
  readFile(started, "utf8").then(
    (text) => HOLDS_BULLMQ.test(text) && tellUnlessWrapped(() => [NOTICE]),
    () => {}, // it was started from something that is no file
  );
}
