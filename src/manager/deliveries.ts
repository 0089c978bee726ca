import { currentAttempt, type LiveAttempt } from "../core/live-attempt.js";
import { Roster } from "../core/roster.js";
import { unlessAborted } from "../core/when-aborted.js";
import type { HeldDelivery } from "./held-delivery.js";

/** A call by which an attempt waits for the others. */
export type WaitingCall = "idle" | "shutdown";

/** How many of the attempts that run here are not waited for, because they wait themselves; asked at each look. */
export type Bystanders = () => number;

interface Waiting {
  readonly attempt: LiveAttempt;
  readonly call: WaitingCall;
}

/** The deliveries that are here, tasks whose end is being told, and the calls that wait for all of them. */
export class Deliveries {
  readonly #here = new Roster<HeldDelivery>();
  readonly #waiting = new Set<Waiting>();
  readonly #others = new Set<object>();
  #changed: Promise<void> | undefined;
  #tellChanged: (() => void) | undefined;
  /** Deliveries that have ever come. */
  come = 0;

  add(held: HeldDelivery): void {
    this.come += 1;
    this.#here.add(held);
  }

  delete(held: HeldDelivery): void {
    this.#here.delete(held);
    this.#wake();
  }

  /** A delivery of this task whose end is not stored yet. */
  find(taskId: string): HeldDelivery | undefined {
    const held = this.#here.find(taskId);
    return held?.isStored === undefined ? held : undefined;
  }

  values(): HeldDelivery[] {
    return this.#here.values();
  }

  /** Counts a task that no attempt stands for as present while `work` goes on: `who` tells of it, or takes it. */
  async present<T>(who: object, work: () => Promise<T>): Promise<T> {
    this.#others.add(who);
    try {
      return await work();
    } finally {
      this.#others.delete(who);
      this.#wake();
    }
  }

  /** Whether nothing is here but bystanders. */
  isSettled(bystanders: Bystanders): boolean {
    return this.#here.size + this.#others.size <= bystanders();
  }

  /** Resolves when nothing is here but bystanders, or when `deadline` aborts. Never rejects. */
  async settled(bystanders: Bystanders, deadline: AbortSignal): Promise<void> {
    while (!this.isSettled(bystanders) && !deadline.aborted) await unlessAborted(this.changed(), deadline);
  }

  /** Resolves when no delivery is here any more; does not wait for the hooks of tasks that ended without an attempt. */
  async gone(): Promise<void> {
    while (this.#here.size > 0) await this.changed();
  }

  /** Resolves when the last of those that are here has gone, but for those that wait themselves. */
  changed(): Promise<void> {
    this.#changed ??= new Promise((resolve) => {
      this.#tellChanged = resolve;
    });
    return this.#changed;
  }

  /**
   * Waits for the others. A shutdown does not wait for attempts that called `shutdown()`, nor does `idle()` inside an
   * attempt wait for any that waits itself; from outside, `idle()` waits for all.
   */
  async standBy<T>(call: WaitingCall, wait: (bystanders: Bystanders) => Promise<T>): Promise<T> {
    const waiting = this.#waitingIn(currentAttempt(), call);
    const counts = (other: Waiting): boolean => (call === "idle" ? waiting !== undefined : other.call === call);
    if (waiting !== undefined) this.#waiting.add(waiting);
    // whoever waits already looks again: this attempt may be a bystander of theirs
    this.#wake();
    try {
      return await wait(() => this.#countWaiting(counts));
    } finally {
      if (waiting !== undefined) this.#waiting.delete(waiting);
    }
  }

  // `undefined` where the attempt is another manager's, or over.
  #waitingIn(attempt: LiveAttempt | undefined, call: WaitingCall): Waiting | undefined {
    return attempt !== undefined && this.#attempts().includes(attempt) ? { attempt, call } : undefined;
  }

  // Whatever stands for those that are here. An attempt that was delivered again is here twice.
  #attempts(): unknown[] {
    return [...this.#here.values().map(({ attempt }) => attempt), ...this.#others];
  }

  #countWaiting(counts: (waiting: Waiting) => boolean): number {
    // this is asked at each end of a task, and nearly always none waits
    if (this.#waiting.size === 0) return 0;
    const waiting = [...this.#waiting].filter(counts).map(({ attempt }): unknown => attempt);
    return this.#attempts().filter((one) => waiting.includes(one)).length;
  }

  #wake(): void {
    // no one's bystanders are more than all that wait
    if (this.#here.size > this.#waiting.size) return;
    this.#changed = undefined;
    this.#tellChanged?.();
  }
}
