import { isTaskConfigError, isTaskStoreError, TaskStoreError } from "../core/errors.js";
import type { EngineHost } from "./engine.js";
import { wasNeverSent } from "./outage.js";

/** A store that has not answered for so long is taken to be away. */
const ANSWER_MS = 10_000;

/** The way to a store. It tells the host whether the store answers; a refusal is an answer. */
export class StoreLink {
  readonly #host: Pick<EngineHost, "storeLost" | "storeBack">;
  readonly #isOutage: (error: unknown) => boolean;
  /** When the store last answered anything, on performance.now()'s axis. */
  #heardAt = Number.NEGATIVE_INFINITY;

  /** `isOutage` says of an error that the store gave no answer, or none that concerns the request. */
  constructor(host: Pick<EngineHost, "storeLost" | "storeBack">, isOutage: (error: unknown) => boolean) {
    this.#host = host;
    this.#isOutage = isOutage;
  }

  /** Settles as the request does, but rejects with a `TaskStoreError` where the store answers nothing for 10 s. */
  ask<T>(request: () => Promise<T>): Promise<T> {
    return this.#hear(request, (reject) => reject(silence()));
  }

  /** As {@link ask}, for what matters however late it is answered: it waits on, and tells the host after 10 s, or `ms`. */
  await<T>(request: () => Promise<T>, ms: number = ANSWER_MS): Promise<T> {
    return this.#hear(request, () => this.#host.storeLost(silence()), ms);
  }

  async #hear<T>(
    request: () => Promise<T>,
    onSilence: (reject: (error: Error) => void) => void,
    ms: number = ANSWER_MS,
  ): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const silent = new Promise<never>((_resolve, reject) => {
      // many requests at once wait for each other, and not for a store that is silent
      const look = (): void => {
        const left = this.#heardAt + ms - performance.now();
        // a connection that is given up keeps no process
        if (left > 0) timer = setTimeout(look, left).unref();
        else onSilence(reject);
      };
      timer = setTimeout(look, ms).unref();
    });
    try {
      const answer = await Promise.race([request(), silent]);
      this.#answered();
      return answer;
    } catch (error) {
      throw this.#told(error);
    } finally {
      clearTimeout(timer);
    }
  }

  #answered(): void {
    this.#heardAt = performance.now();
    this.#host.storeBack();
  }

  #told(error: unknown): unknown {
    if (!isTaskStoreError(error) && (isTaskConfigError(error) || !this.#isOutage(error))) {
      this.#answered();
      return error;
    }
    this.#host.storeLost(error);
    return isTaskStoreError(error) ? error : storeError(error);
  }
}

/** The error of whoever asked a store that gave no answer; it says whether the request can have been carried out. */
function storeError(cause: unknown): TaskStoreError {
  return new TaskStoreError("the store gave no answer", { stored: wasNeverSent(cause) ? false : undefined, cause });
}

function silence(): TaskStoreError {
  return new TaskStoreError(`the store gave no answer within ${ANSWER_MS / 1000} s`);
}
