import type { Rig } from "./rig.js";
import type { EngineWorld, StoreOffer } from "./world.js";

/** Only some worlds have it: tasks that outlive the process, or an optional method of their stores. */
export type Need = "durable" | StoreOffer;

/** One rule of the contract, held by a function that rejects where it is broken. */
export interface Case {
  readonly name: string;
  readonly needs: readonly Need[];
  run(rig: Rig): Promise<void>;
}

/** Cases about one subject. */
export interface Section {
  readonly title: string;
  readonly cases: readonly Case[];
}

/** A case that every engine passes. */
export function every(name: string, run: Case["run"]): Case {
  return { name, needs: [], run };
}

/** A case that is about tasks which outlive the process, and perhaps about what a store offers. */
export function durable(name: string, run: Case["run"], ...offers: readonly StoreOffer[]): Case {
  return { name, needs: ["durable", ...offers], run };
}

/** Whether a case can be run in a world. */
export function suits({ needs }: Case, { durable: outlives, offers = [] }: EngineWorld): boolean {
  return needs.every((need) => (need === "durable" ? outlives : offers.includes(need)));
}
