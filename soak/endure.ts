// One engine under load for minutes, on a server of its own: what it keeps of memory and of connections, and the books.
import { setTimeout as wait } from "node:timers/promises";
import { TaskManager } from "otel-taskflow";
import { openEngine } from "../chaos/engines.js";
import type { EngineName } from "../chaos/kinds.js";
import { startTaskServer, type TaskServer } from "../chaos/servers.js";
import { type Balance, isBalanced, Ledger, total } from "./ledger.js";
import { heapInUse } from "./memory.js";
import { createMix, type Numbering } from "./mix.js";
import { seeded } from "./random.js";

/** What was in use when a round's tasks had ended, and its manager had not yet been shut down. */
export interface Sample {
  /** MB after garbage collection. */
  readonly heap: number;
  /** Connections at the server. */
  readonly connections: number;
}

export interface Endurance {
  readonly balance: Balance;
  readonly added: number;
  /** Tasks that may have been added besides. */
  readonly unknown: number;
  /** Tasks that had not ended when the last manager left. */
  readonly stored: number;
  readonly toldTwice: number;
  readonly samples: readonly Sample[];
  /** Connections when every manager had shut down. */
  readonly connectionsLeft: number;
}

const ROUNDS = 15;
const AT_ONCE = 50;
/** Tasks that have not ended; adding waits for more. */
const MOST_OPEN = 500;
/** More than a machine adds in an hour. */
const MOST_TASKS = 10_000_000;
/** MB, and connections, by which the last rounds may exceed the first: what is noise. */
const HEAP_NOISE = 5;
const CONNECTIONS_NOISE = 2;

/** Round after round with a manager of its own each; the last leaves in the middle of its work. */
export async function endure(engine: EngineName, minutes: number, seed: number): Promise<Endurance> {
  const store = await startTaskServer(engine);
  const ledger = new Ledger(MOST_TASKS);
  const numbering: Numbering = { next: 0, refused: 0, unknown: 0 };
  const random = seeded(seed);
  const samples: Sample[] = [];
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      const { engine: opened, close } = await openEngine(engine, { port: store.server.port, onlyWorker: false });
      const tasks = new TaskManager({ engine: opened, onNotice: false, ...ledger.options() });
      const mix = createMix(tasks, random, numbering);
      await tasks.work();
      const end = performance.now() + (minutes * 60_000) / ROUNDS;
      while (performance.now() < end)
        await addSome(mix, () => numbering.next - numbering.refused - numbering.unknown - ledger.told);
      const last = round === ROUNDS - 1;
      if (!last) {
        await tasks.idle();
        samples.push({ heap: await heapInUse(), connections: await store.connections() });
      }
      await tasks.shutdown({ timeout: last ? 5 : 10_000 });
      await close?.();
    }
    return { ...(await booksOf(ledger, numbering, store)), samples };
  } finally {
    await ledger.close();
    await store.server.stop();
  }
}

/** Enqueued = finished + stored, each end told once, and neither memory nor connections grew. */
export function wrongIn({ balance, added, unknown, stored, toldTwice, samples, connectionsLeft }: Endurance): string[] {
  const { enqueued, active } = balance;
  const heap = growth(samples.map((sample) => sample.heap));
  const connections = growth(samples.map((sample) => sample.connections));
  const found: [boolean, string][] = [
    [enqueued !== added, `${added} tasks were added, ${enqueued} counted`],
    [
      !isBalanced(enqueued, total(balance) + stored, unknown),
      `${enqueued} enqueued, ${total(balance)} finished, ${stored} stored`,
    ],
    [toldTwice > 0 || toldTwice < -unknown, `the hooks told the end of ${toldTwice} tasks twice, or never`],
    [active !== 0, `${active} attempts are counted as active`],
    [heap > HEAP_NOISE, `the heap grew by ${heap.toFixed(1)} MB`],
    [connections > CONNECTIONS_NOISE, `there were ${connections} more connections at the end`],
    [connectionsLeft > 0, `${connectionsLeft} connections are left`],
  ];
  return found.flatMap(([isWrong, told]) => (isWrong ? [told] : []));
}

export function shownSamples({ samples, connectionsLeft }: Endurance): string {
  const heaps = samples.map(({ heap }) => heap.toFixed(1));
  return [
    `  heap after gc, round by round: ${heaps.join(", ")} MB`,
    `  connections: ${samples.map(({ connections }) => connections).join(", ")}; left: ${connectionsLeft}`,
  ].join("\n");
}

/** By how much the median of the last third is above that of the first; the first round, which warms up, aside. */
function growth(values: readonly number[]): number {
  const [, ...warm] = values;
  const third = Math.ceil(warm.length / 3);
  return median(warm.slice(-third)) - median(warm.slice(0, third));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

async function addSome(mix: ReturnType<typeof createMix>, open: () => number): Promise<void> {
  await Promise.all(Array.from({ length: AT_ONCE }, () => mix.add()));
  while (open() > MOST_OPEN) await wait(5);
}

async function booksOf(ledger: Ledger, numbering: Numbering, store: TaskServer): Promise<Omit<Endurance, "samples">> {
  const balance = await ledger.balance();
  const { added, unknown, ends } = ledger.counted(numbering);
  const stored = (await store.rows("live")).length;
  // what was not told once is stored, or was told twice
  return {
    balance,
    added,
    unknown,
    stored,
    toldTwice: ends.otherwise - stored,
    connectionsLeft: await store.connections(),
  };
}
