import { Recent } from "../core/recent.js";
import type { Delivery } from "../engines/engine.js";
import type { Deliveries } from "./deliveries.js";
import type { HeldDelivery, ToldEnd } from "./held-delivery.js";

/**
 * Runs that a store takes for lost although they are here, because it was away for too long: they go on, or they have
 * ended, and the store has not heard of it.
 */
export class LostRuns {
  readonly #here: Deliveries;
  readonly #ended = new Recent<ToldEnd>();

  constructor(here: Deliveries) {
    this.#here = here;
  }

  /** The run that a delivery would repeat: the delivery that goes on, or the end. */
  of(again: HeldDelivery): HeldDelivery | ToldEnd | undefined {
    const { delivery } = again;
    if (lostBefore(delivery) === 0) return undefined;
    const run = runOf(delivery);
    return this.#ended.take(run) ?? this.#here.values().find((one) => one !== again && runOf(one.delivery) === run);
  }

  /** Keeps the end of a run, where the store has it not, or may only be believed to have it, as a success. */
  keep({ delivery, told, isStored }: HeldDelivery): void {
    const outcome = told?.end.outcome;
    const mayComeAgain = outcome === "success" || (isStored !== true && outcome !== "deferred");
    if (told !== undefined && mayComeAgain) this.#ended.keep(runOf(delivery), told);
  }
}

/** How many runs of its attempt were lost before a delivery. */
export function lostBefore({ lost, redelivered }: Delivery): number {
  return lost ?? Number(redelivered);
}

// another task may have had the id before, and then was enqueued at another time
function runOf({ origin: { id, enqueuedAt }, attempt }: Delivery): string {
  return `${attempt} ${enqueuedAt} ${id}`;
}
