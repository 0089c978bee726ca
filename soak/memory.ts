// In-process tasks: what is left of them on the heap, among the handles, and on the event loop.
import { monitorEventLoopDelay } from "node:perf_hooks";
import { memoryEngine, TaskManager } from "otel-taskflow";
import { type Balance, type Counted, Ledger } from "./ledger.js";
import { createMix, type Numbering } from "./mix.js";
import { seeded } from "./random.js";

export interface MemorySoak extends Counted {
  readonly balance: Balance;
  readonly seconds: number;
  /** MB in use after garbage collection, after the run, above what a tenth of it had left. */
  readonly heapGrowth: number;
  readonly heapAfter: number;
  /** ms by which timers came late. */
  readonly loopDelay: { readonly p50: number; readonly p99: number; readonly max: number };
  /** What keeps the process alive after it and did not before, such as timers. */
  readonly handlesLeft: readonly string[];
}

const AT_ONCE = 1_000;

/** Runs `tasks` tasks of the mix, after a tenth of them, which makes room for what is kept for good. */
export async function soakMemory(tasks: number, seed: number): Promise<MemorySoak> {
  const before = process.getActiveResourcesInfo();
  await run(tasks / 10, seed + 1);
  const heapBefore = await heapInUse();
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  const start = performance.now();
  const counted = await run(tasks, seed);
  const seconds = (performance.now() - start) / 1_000;
  delays.disable();
  const heapAfter = await heapInUse();
  const [p50, p99, max] = [delays.percentile(50), delays.percentile(99), delays.max].map((ns) => ns / 1e6);
  return {
    ...counted,
    ...{ seconds, heapAfter, heapGrowth: heapAfter - heapBefore },
    loopDelay: { p50: p50 ?? Number.NaN, p99: p99 ?? Number.NaN, max: max ?? Number.NaN },
    handlesLeft: difference(process.getActiveResourcesInfo(), before),
  };
}

async function run(tasks: number, seed: number): Promise<Counted & Pick<MemorySoak, "balance">> {
  const ledger = new Ledger(tasks * 2);
  const manager = new TaskManager({ engine: memoryEngine(), onNotice: false, ...ledger.options() });
  const numbering: Numbering = { next: 0, refused: 0, unknown: 0 };
  const mix = createMix(manager, seeded(seed), numbering);
  for (let started = 0; started < tasks; started += AT_ONCE) {
    const batch = Array.from({ length: Math.min(AT_ONCE, tasks - started) }, () => mix.add());
    await Promise.all(batch);
  }
  await manager.idle();
  await manager.shutdown();
  const balance = await ledger.balance();
  await ledger.close();
  return { balance, ...ledger.counted(numbering) };
}

/** MB after garbage collection. */
export async function heapInUse(): Promise<number> {
  // twice, a turn apart: promise reactions and weak references let go in between
  globalThis.gc?.();
  await new Promise((resolve) => setImmediate(resolve));
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 1e6;
}

function difference(after: readonly string[], before: readonly string[]): string[] {
  const left = [...before];
  return after.filter((handle) => {
    const known = left.indexOf(handle);
    if (known >= 0) left.splice(known, 1);
    return known < 0;
  });
}
