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
  #shares: Share<T, R>[] = [];

  /**
   * `request` answers for each item, in their order, and carries out all of them or none: where it is refused, which
   * `isRefusal` says of its error, each item is asked for alone, as one of them may be the cause. `most` items go in one.
   */
  constructor(
    request: (items: readonly T[]) => Promise<readonly R[]>,
    isRefusal: (error: unknown) => boolean,
    most: number,
  ) {
    this.#request = request;
    this.#isRefusal = isRefusal;
    this.#most = most;
  }

  ask(item: T): Promise<R> {
    return new Promise((resolve, reject) => {
      const shares = this.#shares;
      shares.push({ item, resolve, reject });
      if (shares.length === 1) process.nextTick(() => this.#send(shares));
      if (shares.length === this.#most) this.#shares = [];
    });
  }

  async #send(shares: Share<T, R>[]): Promise<void> {
    if (this.#shares === shares) this.#shares = [];
    try {
      const answers = await this.#request(shares.map(({ item }) => item));
      for (const [index, { resolve }] of shares.entries()) resolve(answers[index] as R); // one answer an item
    } catch (error) {
      const isCauseAmongMany = shares.length > 1 && this.#isRefusal(error);
      for (const share of shares) {
        if (isCauseAmongMany) void this.#send([share]);
        else share.reject(error);
      }
    }
  }
}
