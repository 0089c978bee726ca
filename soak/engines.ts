// A random load with cancels on a store, and a worker that leaves in the middle of it.
import { TaskManager } from "otel-taskflow";
import { type Balance, type Counted, Ledger } from "./ledger.js";
import { createMix, type Numbering } from "./mix.js";
import { seeded } from "./random.js";
import type { Store } from "./stores.js";

export interface EngineSoak extends Counted {
  readonly balance: Balance;
  /** Tasks that had not ended when the first worker left. */
  readonly handedOver: number;
}

const AT_ONCE = 50;

/** Half of the tasks are added beside one worker, which is shut down, the rest beside another, which sees all of them end. */
export async function soakEngine(store: Store, tasks: number, seed: number): Promise<EngineSoak> {
  const ledger = new Ledger(tasks * 2);
  const numbering: Numbering = { next: 0, refused: 0, unknown: 0 };
  const random = seeded(seed);
  // tasks in memory end with their manager: there one does it all
  const shares = store.name === "memory" ? [tasks] : [tasks / 2, tasks / 2];
  let handedOver = 0;
  for (const [index, share] of shares.entries()) {
    handedOver = ledger.counted(numbering).ends.otherwise;
    const manager = new TaskManager({ engine: store.engine(), onNotice: false, ...ledger.options() });
    const mix = createMix(manager, random, numbering);
    await manager.work();
    for (let started = 0; started < share; started += AT_ONCE) {
      await Promise.all(Array.from({ length: Math.min(AT_ONCE, share - started) }, () => mix.add()));
    }
    const last = index === shares.length - 1;
    if (last) await manager.idle();
    await manager.shutdown({ timeout: last ? 10_000 : 5 });
  }
  const balance = await ledger.balance();
  await ledger.close();
  return { balance, ...ledger.counted(numbering), handedOver };
}
