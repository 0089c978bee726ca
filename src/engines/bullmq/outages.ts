import { setTimeout as wait } from "node:timers/promises";
import { debug, warn } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import type { EngineHost } from "../engine.js";

const POLL_MS = 1_000;
/** Node's codes, and those of PostgreSQL that say that a connection, or the server, is gone. */
const CODES = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOST|ENET|08|57P0)/;
/** How ioredis, pg and Redis itself tell of the same without a code. */
const MESSAGES =
  /connection (is closed|terminated|ended)|isn't writeable|max retries per request|timed out|timeout|LOADING|CLUSTERDOWN/i;

/** Tells the host when the server has gone, and when it answers again. */
export class Outages {
  readonly #host: EngineHost;
  readonly #question: () => Promise<unknown>;
  #wakers: (() => void)[] = [];
  #asking = false;
  #over = false;

  /** `question` resolves once the server answers. */
  constructor(host: EngineHost, question: () => Promise<unknown>) {
    this.#host = host;
    this.#question = question;
  }

  /** Resolves when the server is known to be gone. */
  gone(): Promise<void> {
    return this.#asking ? Promise.resolve() : new Promise((resolve) => this.#wakers.push(resolve));
  }

  /** No answer is waited for any more. */
  stop(): void {
    this.#over = true;
  }

  /** A connection, or `what` uses it, has reported an error. */
  reported(what: string, error: unknown): void {
    if (!isOutage(error)) warn(`${what} reports an error`, error);
    else this.noAnswer(error, what);
  }

  /** A question was not answered. */
  noAnswer(error: unknown, what = "BullMQ"): void {
    if (this.#over || !isOutage(error)) return;
    debug(`${what} reports that its server is gone`, error);
    this.#host.storeLost(error);
    if (this.#asking) return;
    this.#asking = true;
    for (const wake of this.#wakers.splice(0)) wake();
    void HOME.runInAsyncScope(() => this.#askAgain());
  }

  async #askAgain(): Promise<void> {
    while (!this.#over) {
      await wait(POLL_MS, undefined, { ref: false });
      try {
        await this.#question();
        break;
      } catch (error) {
        debug("BullMQ's server still does not answer", error);
      }
    }
    this.#asking = false;
    if (!this.#over) this.#host.storeBack();
  }
}

function isOutage(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false;
  const { code, message } = error as { code?: unknown; message?: unknown };
  return (typeof code === "string" && CODES.test(code)) || (typeof message === "string" && MESSAGES.test(message));
}
