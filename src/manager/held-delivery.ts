import { warn } from "../core/guard.js";
import type { Rostered } from "../core/roster.js";
import type { RunningAttempt } from "../core/running-attempt.js";
import { adopt, isThenable } from "../core/thenable.js";
import type { Delivery, Settlement, StoreEnd } from "../engines/engine.js";
import type { DropReason } from "./settlement.js";

/** A task that ends before the attempt it waited for. */
export interface DroppedTask {
  /** Of the attempt that will not run. */
  readonly delivery: Delivery;
  readonly why: DropReason;
}

/** A delivery in the hands of this process: it runs, then its end is being stored, then it is stored. */
export class HeldDelivery implements Rostered {
  place = -1;
  /** An end has been told, which counts. */
  isTold = false;
  /** Whether the store has it; where it has not, the task will run again. `undefined` until the store has answered. */
  isStored: boolean | undefined;
  /** `undefined` where the delivery is given back without a run. */
  attempt: RunningAttempt<unknown> | undefined;
  /** The end that was told is followed by another run. */
  goesOn = false;
  /** The task that ends with this delivery although another attempt was to follow. */
  dropped: DroppedTask | undefined;
  /** Resolves when the store has answered; `undefined` where it does so at once. */
  stored: Promise<void> | undefined;
  readonly delivery: Delivery;
  readonly #store: StoreEnd;

  constructor(delivery: Delivery, store: StoreEnd) {
    this.delivery = delivery;
    this.#store = store;
  }

  get id(): string {
    return this.delivery.origin.id;
  }

  /** Stores the first end that it is told. Never throws or rejects. */
  store(end: Settlement): Promise<void> | undefined {
    if (this.isTold) return this.stored;
    this.isTold = true;
    this.goesOn = end.outcome === "retry" || end.outcome === "deferred";
    try {
      const storing = this.#store(end);
      if (isThenable(storing)) this.stored = this.#untilStored(storing);
      else this.isStored = true;
    } catch (error) {
      this.#isLost(error);
    }
    return this.stored;
  }

  /** Stores that the task was cancelled, in place of an attempt that was to follow; does nothing where an end was told. */
  drop(why: DropReason, error: unknown): Promise<void> | undefined {
    if (this.isTold) return this.stored;
    const { attempt } = this.delivery;
    const next = this.attempt?.outcome === "retry" ? attempt + 1 : attempt;
    this.dropped = { delivery: { ...this.delivery, attempt: next }, why };
    return this.store({ outcome: "cancelled", error });
  }

  async #untilStored(storing: Promise<void>): Promise<void> {
    try {
      await adopt(storing);
      this.isStored = true;
    } catch (error) {
      this.#isLost(error);
    }
  }

  #isLost(error: unknown): void {
    this.isStored = false;
    warn(`the end of task ${this.id} could not be stored: it will run again`, error);
  }
}
