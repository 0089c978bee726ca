import { HOME } from "../home.js";

/** Calls `look` again and again until it is stopped: after an interval, or at once where it is nudged. */
export class Poller {
  readonly #look: () => Promise<void>;
  /** Milliseconds. */
  readonly #interval: number;
  #stopped = false;
  #nudged = false;
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;

  /** `look` never rejects. */
  constructor(look: () => Promise<void>, interval: number) {
    this.#look = look;
    this.#interval = interval;
  }

  start(): void {
    this.#running ??= HOME.runInAsyncScope(() => this.#run());
  }

  /** Looks now instead of after the interval. */
  nudge(): void {
    this.#nudged = true;
    this.#wake?.();
  }

  /** Starts no other look; resolves when the last one has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake?.();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.#nudged = false;
      await this.#look();
      if (!this.#nudged && !this.#stopped) await this.#pause();
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#interval);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
