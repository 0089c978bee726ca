import { quietly, warn } from "../core/guard.js";
import type { Rostered } from "../core/roster.js";
import type { RunningAttempt } from "../core/running-attempt.js";
import { isThenable } from "../core/thenable.js";
import type { Delivery, Settlement, StoreAnswer, StoreEnd } from "../engines/engine.js";
import { type DropReason, reasonOf } from "./settlement.js";

/** A task that ends before the attempt it waited for. */
export interface DroppedTask {
  /** Of the attempt that will not run. */
  readonly delivery: Delivery;
  readonly why: DropReason;
  /** Its hooks have been called. */
  isTold: boolean;
}

/** How a delivery has ended, whether that is stored or not. */
export interface ToldEnd {
  readonly end: Settlement;
  /** Epoch milliseconds at which the next run is due; 0 where there is none. */
  readonly nextAt: number;
  /** The task that ends with this delivery although another attempt was to follow. */
  readonly dropped: DroppedTask | undefined;
}

/** A delivery in the hands of this process: it runs, then its end is being stored, then it is stored. */
export class HeldDelivery implements Rostered {
  place = -1;
  /** The end that counts, from when it is known. */
  told: ToldEnd | undefined = undefined;
  /**
   * Whether the store has the end; where it has not, the task will run again. `undefined` until it has answered, or is not
   * waited for any more.
   */
  isStored: boolean | undefined = undefined;
  /** `undefined` where the delivery is given back without a run. */
  attempt: RunningAttempt<unknown> | undefined = undefined;
  /** Resolves when the store has answered; `undefined` where it does so at once. */
  stored: Promise<void> | undefined = undefined;
  readonly delivery: Delivery;
  readonly #store: StoreEnd;
  #followers: ((told: ToldEnd) => void)[] | undefined;
  /** As of attempts, one stays alive. */
  static readonly kept: object = new HeldDelivery({} as Delivery, {} as StoreEnd);

  constructor(delivery: Delivery, store: StoreEnd) {
    this.delivery = delivery;
    this.#store = store;
  }

  get id(): string {
    return this.delivery.origin.id;
  }

  /** Ends as `first` does, another delivery of the same run, and stores that as well. Resolves when that is over. */
  async follow(first: HeldDelivery | ToldEnd): Promise<void> {
    if (first instanceof HeldDelivery) {
      this.attempt = first.attempt;
      await new Promise<void>((resolve) => first.#onTold((told) => resolve(this.storeTold(told))));
    } else {
      this.storeTold(first);
    }
    await this.stored;
  }

  /** Stores the first end that it is told. Never throws or rejects. */
  store(end: Settlement): Promise<void> | undefined {
    const nextAt = "delay" in end ? Date.now() + end.delay : 0;
    return this.storeTold({ end, nextAt, dropped: undefined });
  }

  /** {@link store} for an end that another delivery of the attempt has had. */
  storeTold(told: ToldEnd): Promise<void> | undefined {
    if (this.told !== undefined) return this.stored;
    this.told = told;
    const storing = this.#storeOnce(told.end);
    if (isThenable(storing)) this.stored = this.#untilStored(storing);
    else this.#answer(storing);
    if (this.#followers !== undefined) for (const follow of this.#followers) follow(told);
    return this.stored;
  }

  /** Stores that the task was cancelled, in place of an attempt that was to follow; does nothing where an end was told. */
  drop(why: DropReason): Promise<void> | undefined {
    const { attempt } = this.delivery;
    const next = this.attempt?.outcome === "retry" ? attempt + 1 : attempt;
    const dropped = { delivery: { ...this.delivery, attempt: next }, why, isTold: false };
    return this.storeTold({ end: { outcome: "cancelled", error: reasonOf(why) }, nextAt: 0, dropped });
  }

  #onTold(follow: (told: ToldEnd) => void): void {
    if (this.told !== undefined) {
      follow(this.told);
      return;
    }
    this.#followers ??= [];
    this.#followers.push(follow);
  }

  #storeOnce(end: Settlement): ReturnType<StoreEnd> {
    try {
      return this.#store(end);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #untilStored(storing: Promise<StoreAnswer>): Promise<void> {
    this.#answer(await quietly("storing the end of a task", () => storing, "lost"));
  }

  #answer(answer: StoreAnswer): void {
    this.isStored = answer !== "lost";
    if (!this.isStored) warn(`the end of task ${this.id} is not stored: it will run again`);
  }
}
