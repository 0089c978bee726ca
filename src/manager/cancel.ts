import { within } from "../core/within.js";
import type { OpenEngine } from "../engines/engine.js";
import type { Deliveries } from "./deliveries.js";
import type { DroppedTask, HeldDelivery } from "./held-delivery.js";
import { reasonOf } from "./settlement.js";

/** What became of a cancel: no other attempt of the task will start; or the task had ended, or never was; or nobody knows. */
export type CancelAnswer = "cancelled" | "unknown" | "unanswered";

/** For so long a cancel waits for the store, and a shutdown for what it gives back. */
export const STORING_MS = 5_000;
/** A task may start or end while the store is looked at; more often than this, somebody runs it again and again. */
const MOST_LOOKS = 4;

/** Stops tasks wherever they are: running here, being stored, or waiting in the store. Waits for no hook. */
export class Cancels {
  readonly #here: Deliveries;
  readonly #engine: OpenEngine;
  readonly #drop: (dropped: DroppedTask) => void;
  readonly #underWay = new Map<string, Promise<CancelAnswer>>();

  /** `drop` tells of a task that was taken out of the store. */
  constructor(here: Deliveries, engine: OpenEngine, drop: (dropped: DroppedTask) => void) {
    this.#here = here;
    this.#engine = engine;
    this.#drop = drop;
  }

  /** Several who cancel one task are served one after the other, so that one of them has cancelled it. */
  async cancel(taskId: string): Promise<CancelAnswer> {
    const before = this.#underWay.get(taskId);
    const look = (): Promise<CancelAnswer> => this.#look(taskId);
    const answer = before === undefined ? look() : before.then(look, look);
    this.#underWay.set(taskId, answer);
    try {
      return await answer;
    } finally {
      if (this.#underWay.get(taskId) === answer) this.#underWay.delete(taskId);
    }
  }

  async #look(taskId: string): Promise<CancelAnswer> {
    for (let look = 0; look < MOST_LOOKS; look += 1) {
      const held = this.#here.find(taskId);
      const answer = held && (await callOff(held));
      if (answer !== undefined) return answer;
      const delivery = await this.#engine.take(taskId);
      if (delivery !== undefined) {
        this.#drop({ delivery, why: "cancelled" });
        return "cancelled";
      }
      if (this.#here.find(taskId) === undefined) return "unknown";
    }
    return "unanswered";
  }
}

/** Stops a task that is in the hands of this process; `undefined` where it goes on in the store. */
async function callOff(held: HeldDelivery): Promise<CancelAnswer | undefined> {
  const { attempt } = held;
  const reason = reasonOf("cancelled");
  if (attempt?.abort(reason) !== true) {
    if (attempt?.outcome === "success" || attempt?.outcome === "failure") return "unknown";
    // the hooks of a retry are running, and may themselves wait for this answer: the end is stored without them
    if (held.stage === "running") held.drop("cancelled", reason);
  }
  if (held.stored !== undefined) await within(STORING_MS, held.stored, undefined);
  if (!held.isOver) return "unanswered";
  const isCancelled = held.dropped !== undefined || attempt?.outcome === "cancelled";
  return isCancelled && held.stage === "stored" ? "cancelled" : undefined;
}
