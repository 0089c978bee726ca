import { setTimeout as wait } from "node:timers/promises";
import { debug, warn } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import type { EngineHost } from "../engine.js";

const POLL_MS = 1_000;
/**
 * Begins the codes by which Node says that a connection is gone, or cannot be made, and the SQLSTATEs by which
 * PostgreSQL does: class 08, and class 57P0 of a server that is told to stop.
 */
const OUTAGE_CODE = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOST|ENET|08|57P0)/;
/** Texts that say the same without a code: ioredis 5 has the first line, pg 8 the second, Redis 6 and 7 the third. */
const OUTAGE_TEXTS = [
  ...["Connection is closed", "isn't writeable", "max retries per request", "timed out"],
  ...["Connection terminated", "timeout"],
  ...["LOADING", "CLUSTERDOWN"],
].map((text) => text.toLowerCase());

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
  if (typeof code === "string" && OUTAGE_CODE.test(code)) return true;
  const text = typeof message === "string" ? message.toLowerCase() : "";
  return OUTAGE_TEXTS.some((one) => text.includes(one));
}
