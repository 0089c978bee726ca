import { isTaskConfigError, isTaskStoreError, TaskStoreError } from "../core/errors.js";
import { HOME } from "../core/home.js";
import type { EngineHost } from "./engine.js";
import { wasNeverSent } from "./outage.js";

/** A store that has not answered for so long is taken to be away. */
const ANSWER_MS = 10_000;

/** A request that is not answered yet. */
interface Request {
  /** When it was made, on performance.now()'s axis. */
  readonly since: number;
  /** For so long the store may be silent. */
  readonly ms: number;
  readonly onSilence: () => void;
}

/** The way to a store. It tells the host whether the store answers; a refusal is an answer. */
export class StoreLink {
  readonly #host: Pick<EngineHost, "storeLost" | "storeBack">;
  readonly #isOutage: (error: unknown) => boolean;
  readonly #requests = new Set<Request>();
  /** When the store last answered anything, on performance.now()'s axis. */
  #heardAt = Number.NEGATIVE_INFINITY;
  /** When one timer for all requests looks whether the store is silent, or has last looked. */
  #looksAt = Number.NEGATIVE_INFINITY;

  /** `isOutage` says of an error that the store gave no answer, or none that concerns the request. */
  constructor(host: Pick<EngineHost, "storeLost" | "storeBack">, isOutage: (error: unknown) => boolean) {
    this.#host = host;
    this.#isOutage = isOutage;
  }

  /** Settles as the request does, but rejects with a `TaskStoreError` where the store answers nothing for 10 s. */
  ask<T>(request: () => Promise<T>): Promise<T> {
    return this.#hear(request, (reject) => reject(this.#told(silence())));
  }

  /** As {@link ask}, for what matters however late it is answered: it waits on, and tells the host after 10 s, or `ms`. */
  await<T>(request: () => Promise<T>, ms: number = ANSWER_MS): Promise<T> {
    return this.#hear(request, () => this.#host.storeLost(silence()), ms);
  }

  #hear<T>(
    request: () => Promise<T>,
    onSilence: (reject: (error: unknown) => void) => void,
    ms: number = ANSWER_MS,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const made = { since: performance.now(), ms, onSilence: () => onSilence(reject) };
      this.#watch(made);
      const answered = (answer: T): void => {
        this.#requests.delete(made);
        this.#answered();
        resolve(answer);
      };
      const failed = (error: unknown): void => {
        this.#requests.delete(made);
        reject(this.#told(error));
      };
      try {
        request().then(answered, failed);
      } catch (error) {
        failed(error);
      }
    });
  }

  #watch(request: Request): void {
    this.#requests.add(request);
    const { since, ms } = request;
    if (this.#looksAt < since || since + ms < this.#looksAt) this.#lookIn(ms);
  }

  #lookIn(ms: number): void {
    this.#looksAt = performance.now() + ms;
    // a connection that is given up keeps no process
    HOME.runInAsyncScope(() => setTimeout(() => this.#look(), ms).unref());
  }

  // many requests at once wait for each other, and not for a store that is silent
  #look(): void {
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const request of this.#requests) {
      const left = Math.max(this.#heardAt, request.since) + request.ms - now;
      if (left > 0) {
        next = Math.min(next, left);
      } else {
        this.#requests.delete(request);
        request.onSilence();
      }
    }
    if (next < Number.POSITIVE_INFINITY) this.#lookIn(next);
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
