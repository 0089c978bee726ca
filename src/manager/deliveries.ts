import { currentAttempt } from "../core/live-attempt.js";
import { Roster } from "../core/roster.js";
import { whenAborted } from "../core/when-aborted.js";
import type { HeldDelivery } from "./held-delivery.js";

/** A call by which an attempt waits for the others. */
export type WaitingCall = "idle" | "shutdown";

/** How many of the attempts that run here are not waited for, because they wait themselves; asked at each look. */
export type Bystanders = () => number;

interface Waiting {
  readonly held: HeldDelivery;
  readonly call: WaitingCall;
}

const NOBODY: Bystanders = () => 0;

/** The deliveries that are here, tasks whose end is being told, and the calls that wait for all of them. */
export class Deliveries {
  readonly #here = new Roster<HeldDelivery>();
  readonly #waiting = new Set<Waiting>();
  #dropping = 0;
  #wakers: (() => void)[] = [];
  /** Deliveries that have ever come. */
  come = 0;
  /** The manager has shut down: nothing more will come, and nobody waits any more. */
  closed = false;

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
    return held?.isOver ? undefined : held;
  }

  values(): HeldDelivery[] {
    return this.#here.values();
  }

  /** Counts the hooks of a task that ends without an attempt as present, until `told` resolves. */
  async dropping(told: Promise<void>): Promise<void> {
    this.#dropping += 1;
    await told;
    this.#dropping -= 1;
    this.#wake();
  }

  /** Whether nothing is here but bystanders. */
  isSettled(bystanders: Bystanders): boolean {
    return this.#here.size + this.#dropping <= bystanders();
  }

  /** Resolves when nothing is here but bystanders, or when `deadline` aborts. Never rejects. */
  async settled(bystanders: Bystanders = NOBODY, deadline?: AbortSignal): Promise<void> {
    const aborted = deadline && whenAborted(deadline);
    while (!this.isSettled(bystanders) && deadline?.aborted !== true) {
      await (aborted === undefined ? this.changed() : Promise.race([this.changed(), aborted]));
    }
  }

  /** Resolves when no delivery is here any more; does not wait for the hooks of tasks that ended without an attempt. */
  async gone(): Promise<void> {
    while (this.#here.size > 0) await this.changed();
  }

  /** Resolves when the last of those that are here has gone, but for those that wait themselves. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#wakers.push(resolve));
  }

  /**
   * Waits for the others. A shutdown does not wait for attempts that called `shutdown()`, nor does `idle()` inside an
   * attempt wait for any that waits itself; from outside, `idle()` waits for all.
   */
  async standBy<T>(call: WaitingCall, wait: (bystanders: Bystanders) => Promise<T>): Promise<T> {
    const held = this.#current();
    const idling: readonly WaitingCall[] = held === undefined ? [] : ["idle", "shutdown"];
    const counted = call === "shutdown" ? (["shutdown"] as const) : idling;
    const waiting = held && { held, call };
    if (waiting !== undefined) this.#waiting.add(waiting);
    // whoever waits already looks again: this attempt may be a bystander of theirs
    this.#wake();
    try {
      return await wait(() => this.#countWaiting(counted));
    } finally {
      if (waiting !== undefined) this.#waiting.delete(waiting);
    }
  }

  #current(): HeldDelivery | undefined {
    const attempt = currentAttempt();
    const held = attempt && this.#here.find(attempt.task.taskId);
    // a task of another manager may have the same id
    return held?.attempt === attempt ? held : undefined;
  }

  #countWaiting(calls: readonly WaitingCall[]): number {
    // this is asked at each end of a task, and nearly always none waits
    if (this.#waiting.size === 0 || calls.length === 0) return 0;
    const counted = [...this.#waiting].filter(({ held, call }) => calls.includes(call) && this.#here.has(held));
    return new Set(counted.map(({ held }) => held)).size;
  }

  #wake(): void {
    // no one's bystanders are more than all that wait
    if (this.#wakers.length === 0 || this.#here.size > this.#waiting.size) return;
    for (const resolve of this.#wakers.splice(0)) resolve();
  }
}
