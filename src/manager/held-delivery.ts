import { warn } from "../core/guard.js";
import type { Rostered } from "../core/roster.js";
import type { RunningAttempt } from "../core/running-attempt.js";
import { adopt, isThenable } from "../core/thenable.js";
import type { Delivery, Settlement, StoreAnswer, StoreEnd } from "../engines/engine.js";
import { untilAnswered } from "./patience.js";
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
  readonly #closing: AbortSignal;
  #followers: ((told: ToldEnd) => void)[] | undefined;
  /** As of attempts, one stays alive. */
  static readonly kept: object = new HeldDelivery({} as Delivery, {} as StoreEnd, {} as AbortSignal);

  /** `closing` aborts when the store is not waited for any more. */
  constructor(delivery: Delivery, store: StoreEnd, closing: AbortSignal) {
    this.delivery = delivery;
    this.#store = store;
    this.#closing = closing;
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

  /** Stores the first end that it is told, however often the store has to be asked. Never throws or rejects. */
  store(end: Settlement): Promise<void> | undefined {
    const nextAt = "delay" in end ? Date.now() + end.delay : 0;
    return this.storeTold({ end, nextAt, dropped: undefined });
  }

  /** {@link store} for an end that another delivery of the attempt has had. */
  storeTold(told: ToldEnd): Promise<void> | undefined {
    if (this.told !== undefined) return this.stored;
    this.told = told;
    const storing = this.#storeOnce(told.end);
    if (isThenable(storing)) this.stored = this.#untilStored(storing, told);
    else this.#answer(named(storing));
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

  async #untilStored(first: Promise<StoreAnswer>, { end, nextAt }: ToldEnd): Promise<void> {
    const again = (): ReturnType<StoreEnd> =>
      this.#store("delay" in end ? { ...end, delay: Math.max(0, nextAt - Date.now()) } : end);
    const failed = `the end of task ${this.id} could not be stored yet`;
    this.#answer(
      await untilAnswered(failed, adopt(first).then(named), async () => named(await again()), this.#closing),
    );
  }

  #answer(answer: "stored" | "lost" | undefined): void {
    this.isStored = answer === "stored";
    if (answer !== "stored") warn(`the end of task ${this.id} is not stored: it will run again`);
  }
}

function named(answer: StoreAnswer): "stored" | "lost" {
  return answer ?? "stored";
}
