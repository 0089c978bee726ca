import { quietly } from "../core/guard.js";
import { HOME } from "../core/home.js";
import { pause } from "../core/pause.js";

import { unlessAborted } from "../core/when-aborted.js";
import { within } from "../core/within.js";
import type { OpenEngine } from "../engines/engine.js";
import type { Bystanders, Deliveries } from "./deliveries.js";

/** For so long anybody waits for an answer of an engine. */
export const ANSWER_MS = 10_000;
/** Between two looks into a store for tasks that wait. */
const POLL_MS = 100;
/** Before a store is asked again that gave no answer. */
const OUTAGE_POLL_MS = 1_000;

/**
 * Resolves when nothing waits in the store and nothing but bystanders is here, or when the manager has closed. Tasks
 * that wait in this process alone start here, so that it is enough to look again when those that are here have gone;
 * a store is looked at again and again.
 */
export async function untilIdle(
  here: Deliveries,
  engine: OpenEngine,
  durable: boolean,
  bystanders: Bystanders,
  closing: AbortSignal,
): Promise<void> {
  const ask = async (): Promise<number | undefined> => await HOME.runInAsyncScope(engine.waiting, engine);
  while (!closing.aborted) {
    await here.settled(bystanders, closing);
    const { come } = here;
    const changed = here.changed();
    const asked = quietly("looking for tasks that wait", ask);
    const waiting = await within(ANSWER_MS, asked, undefined, closing);
    if (waiting === 0 && here.come === come && here.isSettled(bystanders)) return;
    if (waiting === undefined) await pause(OUTAGE_POLL_MS, closing);
    else await (durable ? pause(POLL_MS) : unlessAborted(changed, closing));
  }
}
