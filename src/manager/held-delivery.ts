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
  /** `lost`: the end could not be stored, and the task will run again. */
  stage: "running" | "storing" | "stored" | "lost" = "running";
  /** `undefined` where the delivery is given back without a run. */
  attempt: RunningAttempt<unknown> | undefined;
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

  get isOver(): boolean {
    return this.stage === "stored" || this.stage === "lost";
  }

  /** Stores the first end that it is told. Never throws or rejects. */
  store(end: Settlement): Promise<void> | undefined {
    if (this.stage !== "running") return this.stored;
    this.stage = "storing";
    try {
      const storing = this.#store(end);
      if (isThenable(storing)) this.stored = this.#untilStored(storing);
      else this.stage = "stored";
    } catch (error) {
      this.#isLost(error);
    }
    return this.stored;
  }

  /** Stores that the task was cancelled, in place of an attempt that was to follow this one. */
  drop(why: DropReason, error: unknown): Promise<void> | undefined {
    const { attempt } = this.delivery;
    const next = this.attempt?.outcome === "retry" ? attempt + 1 : attempt;
    this.dropped = { delivery: { ...this.delivery, attempt: next }, why };
    return this.store({ outcome: "cancelled", error });
  }

  async #untilStored(storing: Promise<void>): Promise<void> {
    try {
      await adopt(storing);
      this.stage = "stored";
    } catch (error) {
      this.#isLost(error);
    }
  }

  #isLost(error: unknown): void {
    this.stage = "lost";
    warn(`the end of task ${this.id} could not be stored: it will run again`, error);
  }
}
