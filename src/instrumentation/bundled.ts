import { writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { isMainThread } from "node:worker_threads";
import { safely, warn } from "../core/guard.js";
import { SCOPE_NAME } from "../core/semconv.js";
import { registeredApi, type Slot, sharedSlot } from "../core/slot.js";

/** A text of BullMQ's that a minifier leaves alone: seen in BullMQ 5.0, 5.81 and 6.7. No text here is the same. */
const HOLDS_BULLMQ = /BullMQ[:] WARNING! Your redis options/;
const NOTICE =
  "BullMQ is a part of the bundle that was started, where no instrumentation reaches it: pass the module to " +
  "withTasks() there, or leave bullmq out of the bundle and load the set-up of OpenTelemetry by --import.";
/** Milliseconds in which an application may still wrap its copy by itself. */
const WRAPPED_WITHIN_MS = 5_000;

/** State shared by all copies of the package; the one in a bundle is another than the instrumentation's. */
interface WrappedSlot extends Slot {
  isBullmqWrapped?: boolean;
}

let isWatching = false;

/** Notes for all copies of this package that a copy of BullMQ is wrapped. */
export function noteWrapped(): void {
  wrappedSlot().isBullmqWrapped = true;
}

/** Tells once, soon or when the process ends, that BullMQ is in the bundle that was started and nobody has wrapped it. */
export function watchBundle(): void {
  const [, started] = process.argv;
  if (isWatching || started === undefined || !isMainThread) return;
  isWatching = true;
  readFile(started, "utf8").then(
    (text) => HOLDS_BULLMQ.test(text) && tellLater(),
    () => {}, // it was started from something that is no file
  );
}

function tellLater(): void {
  const tell = (): void => {
    clearTimeout(timer);
    process.off("exit", tell);
    if (!wrappedSlot().isBullmqWrapped) say(NOTICE);
  };
  const timer = setTimeout(tell, WRAPPED_WITHIN_MS).unref();
  process.on("exit", tell);
}

// Not process.stderr: a pipe that was closed at its other end would end the process.
function say(notice: string): void {
  if (registeredApi()?.diag !== undefined) warn(notice);
  else safely("writing to stderr", () => writeSync(2, `${SCOPE_NAME}: ${notice}\n`));
}

function wrappedSlot(): WrappedSlot {
  return sharedSlot();
}
