import { within } from "../core/within.js";
import type { OpenEngine } from "../engines/engine.js";
import type { Deliveries } from "./deliveries.js";
import type { DroppedTask, HeldDelivery } from "./held-delivery.js";
import { ANSWER_MS } from "./idle.js";
import { reasonOf } from "./settlement.js";

/** For so long a cancel waits for an end to be stored. */
const STORING_MS = 5_000;
/** A task may start or end while the store is looked at; more often than this, somebody runs it again and again. */
const MOST_LOOKS = 4;

/** Stops tasks wherever they are: running here, being stored, or waiting in the store. Waits for no hook. */
export class Cancels {
  readonly #here: Deliveries;
  readonly #engine: OpenEngine;
  readonly #drop: (dropped: DroppedTask) => void;
  readonly #closing: AbortSignal;
  readonly #underWay = new Map<string, Promise<boolean>>();

  /** `drop` tells of a task that was taken out of the store; `closing` aborts when that is not waited for any more. */
  constructor(here: Deliveries, engine: OpenEngine, drop: (dropped: DroppedTask) => void, closing: AbortSignal) {
    this.#here = here;
    this.#engine = engine;
    this.#drop = drop;
    this.#closing = closing;
  }

  /**
   * True when it is stored that no other attempt of the task will start; false where it had ended, never was, or nobody
   * knows. Several who cancel one task are served one after the other, so that one of them has cancelled it.
   */
  async cancel(taskId: string): Promise<boolean> {
    const before = this.#underWay.get(taskId);
    const look = (): Promise<boolean> => this.#look(taskId);
    const answer = before === undefined ? look() : before.then(look, look);
    this.#underWay.set(taskId, answer);
    try {
      return await answer;
    } finally {
      if (this.#underWay.get(taskId) === answer) this.#underWay.delete(taskId);
    }
  }

  async #look(taskId: string): Promise<boolean> {
    for (let look = 0; look < MOST_LOOKS; look += 1) {
      const held = this.#here.find(taskId);
      const answer = held && (await callOff(held));
      if (answer !== undefined) return answer;
      const taken = await this.#take(taskId);
      if (taken !== false || this.#here.find(taskId) === undefined) return taken === true;
    }
    return false;
  }

  // Whether it waited in the store; `undefined` where that gives no answer in time. The task may be gone although the
  // answer was lost: whoever asks again gets it, and tells of it, also when nobody waits for that any more.
  #take(taskId: string): Promise<boolean | undefined> {
    // it is in no one's hands until its hook is called
    const taken = this.#here.present({}, async () => {
      const delivery = await this.#engine.take(taskId);
      if (delivery !== undefined) this.#drop({ delivery, why: "cancelled", isTold: false });
      return delivery !== undefined;
    });
    return within(ANSWER_MS, taken, undefined, this.#closing);
  }
}

/** Stops a task that is in the hands of this process; `undefined` where it goes on in the store. */
async function callOff(held: HeldDelivery): Promise<boolean | undefined> {
  const { attempt } = held;
  if (attempt?.abort(reasonOf("cancelled")) !== true) {
    const outcome = attempt?.outcome;
    // the task's own listener may ask, in the midst of the cancel that has aborted it
    if (outcome === "success" || outcome === "failure" || (outcome === "cancelled" && held.told === undefined))
      return false;
    // the hooks of a retry are running, and may themselves wait for this answer: the end is stored without them
    held.drop("cancelled");
  }
  if (held.stored !== undefined) await within(STORING_MS, held.stored, undefined);
  if (held.isStored === undefined) return false;
  const isCancelled = held.told?.dropped !== undefined || attempt?.outcome === "cancelled";
  return (isCancelled && held.isStored) || undefined;
}
