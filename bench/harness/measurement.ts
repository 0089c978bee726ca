/** One timed or weighed piece of work, from a standing start; resolves to the figure, smaller being better. */
export type Round = () => number | Promise<number>;

/** Sets one side up, in a process of its own, and returns its round. */
export type Side = () => Round | Promise<Round>;

/** What the ratio column holds: ours ÷ peer, ours − peer, or ours as it is. */
export type Judgement = "ratio" | "difference" | "value";

/** One line of the table. */
export interface Measurement {
  readonly what: string;
  readonly unit: "ns" | "µs" | "ms" | "B" | "kB" | "MB";
  readonly judgement: Judgement;
  /** Upper bound of the judgement, inclusive. Default: none, and the figure is shown alone. */
  readonly target?: number;
  /** Counted rounds of each pair of processes. */
  readonly rounds: number;
  /** Rounds before those. Default 3. */
  readonly warmUp?: number;
  /** Fresh pairs of processes, one after the other. Default 3. */
  readonly pairs?: number;
  readonly ours: Side;
  readonly peer?: Side;
}

const NANOSECONDS = { ns: 1, µs: 1e3, ms: 1e6 };

/** A round that takes the time of `run`, per operation. Starts with an empty young generation. */
export function timed(unit: keyof typeof NANOSECONDS, operations: number, run: () => unknown): Round {
  return async () => {
    collectGarbage();
    const start = process.hrtime.bigint();
    await run();
    return Number(process.hrtime.bigint() - start) / operations / NANOSECONDS[unit];
  };
}

/** Bytes in use on the heap once everything unreachable is gone. */
export async function heapInUse(): Promise<number> {
  // Twice, a turn apart: promise reactions and weak references let go in between.
  collectGarbage();
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

function collectGarbage(): void {
  if (globalThis.gc === undefined) throw new Error("run with --expose-gc");
  globalThis.gc();
}
