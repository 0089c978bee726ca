import { isTaskStoreError } from "../core/errors.js";
import { within } from "../core/within.js";

/** Most items of one request, unless an engine has a reason for fewer. */
export const MOST_TOGETHER = 100;

/** A request's share of a larger one. */
interface Share<T, R> {
  readonly item: T;
  readonly resolve: (answer: R) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Makes one request of all that is asked for at the same moment: before the event loop goes on. It is made in the
 * asynchronous context of whoever asked first.
 */
export class Together<T, R> {
  readonly #request: (items: readonly T[]) => Promise<readonly R[]>;
  readonly #isRefusal: (error: unknown) => boolean;
  readonly #most: number;
  readonly #patience: number;
  /** The last request, until it is answered. */
  #underWay: Promise<void> | undefined;
  #shares: Share<T, R>[] = [];

  /**
   * `request` answers for each item, in their order, and carries out all of them or none: where it is refused, which
   * `isRefusal` says of its error, each item is asked for alone, as one of them may be the cause. `most` items go in one.
   * With `patience`, what is asked while a request is under way waits for its answer, for so many milliseconds at most:
   * the busier a store is, the more goes in one.
   */
  constructor(
    request: (items: readonly T[]) => Promise<readonly R[]>,
    isRefusal: (error: unknown) => boolean,
    most: number,
    patience: number = 0,
  ) {
    this.#request = request;
    this.#isRefusal = isRefusal;
    this.#most = most;
    this.#patience = patience;
  }

  ask(item: T): Promise<R> {
    return new Promise((resolve, reject) => {
      const shares = this.#shares;
      shares.push({ item, resolve, reject });
      if (shares.length === 1) this.#soon(() => this.#send(shares));
      if (shares.length === this.#most) this.#shares = [];
    });
  }

  #soon(send: () => void): void {
    if (this.#patience === 0 || this.#underWay === undefined) process.nextTick(send);
    else void within(this.#patience, this.#underWay, undefined).then(send);
  }

  #send(shares: Share<T, R>[]): void {
    if (this.#shares === shares) this.#shares = [];
    const answered = this.#answer(shares).then(() => {
      if (this.#underWay === answered) this.#underWay = undefined;
    });
    this.#underWay = answered;
  }

  async #answer(shares: readonly Share<T, R>[]): Promise<void> {
    try {
      const answers = await this.#request(shares.map(({ item }) => item));
      for (const [index, { resolve }] of shares.entries()) resolve(answers[index] as R); // one answer an item
    } catch (error) {
      const isCauseAmongMany = shares.length > 1 && this.#isRefusal(error);
      for (const share of shares) {
        if (isCauseAmongMany) this.#send([share]);
        else share.reject(error);
      }
    }
  }
}

/** Whether a request was not made because its items together are too long for one text. Each may be asked for alone. */
export function areTooLong(error: unknown): boolean {
  return isTaskStoreError(error) && error.cause instanceof RangeError;
}
