import { warn } from "../core/guard.js";
import type { Voice } from "./voice.js";

/** Tells each outage of the store once, and its end. */
export class StoreWatch {
  readonly #voice: Voice;
  #isLost = false;

  constructor(voice: Voice) {
    this.#voice = voice;
  }

  lost(error: unknown): void {
    if (this.#isLost) return;
    this.#isLost = true;
    const message = "the store cannot be reached";
    warn(message, error);
    this.#voice.say({ kind: "store", message, error: error ?? new Error("it gave no answer") }, "lost");
  }

  back(): void {
    if (!this.#isLost) return;
    this.#isLost = false;
    const message = "the store can be reached again";
    warn(message);
    this.#voice.say({ kind: "store", message }, "back");
  }
}
