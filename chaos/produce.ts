// What is enqueued, when, and what of it is cancelled: decided by the seed alone.
import { setTimeout as wait } from "node:timers/promises";
import type { AddTaskOptions } from "otel-taskflow";
import { seeded } from "../soak/random.js";
import type { ProcessSettings } from "./kinds.js";
import type { Load, TaskKind, Work } from "./load.js";

interface Order {
  readonly work: Work;
  readonly options: AddTaskOptions;
  /** ms after which it is cancelled. */
  readonly cancelAfter?: number;
}

/** Calls that wait for an answer; more of them would only wait for each other. */
const AT_ONCE = 40;
const ANSWERS_WITHIN_MS = 25_000;
const AFTER_MS = 10_000;

/** Out of a hundred tasks. */
const SHARES: readonly [TaskKind | "delayed", number][] = [
  ["quick", 30],
  ["slow", 15],
  ["flaky", 20],
  ["doomed", 5],
  ["refuses", 3],
  ["parent", 7],
  ["timed", 3],
  ["new", 7],
  ["delayed", 10],
];

/** Resolves once every call has been answered, or has gone without an answer for too long. */
export async function produce(load: Load, { tasks, over, seed }: ProcessSettings): Promise<void> {
  const random = seeded(seed);
  const open = new Set<Promise<void>>();
  const first = await load.add({ n: "first", kind: "quick", ms: 0, listens: false });
  console.log(first === undefined ? "its first task was refused" : "working");
  const start = performance.now();
  for (let n = 0; n < tasks; n += 1) {
    const early = start + (n * over) / tasks - performance.now();
    if (early > 0) await wait(early);
    if (open.size >= AT_ONCE) await Promise.race(open);
    // a store that was away for long has left no time for the rest
    if (performance.now() - start > over + AFTER_MS) break;
    const placed = place(load, orderOf(n, seed, random, over));
    open.add(placed);
    void placed.then(() => open.delete(placed));
  }
  const answered = new AbortController();
  const { signal } = answered;
  await Promise.race([Promise.all(open), wait(ANSWERS_WITHIN_MS, undefined, { signal }).catch(() => {})]);
  answered.abort();
}

async function place(load: Load, { work, options, cancelAfter }: Order): Promise<void> {
  const id = await load.add(work, options);
  if (id === undefined || cancelAfter === undefined) return;
  await wait(cancelAfter);
  await load.cancel(id);
}

function orderOf(n: number, seed: number, random: () => number, over: number): Order {
  const kind = kindOf(random() * 100);
  const base = { n: String(n), ms: Math.floor(random() * random() * 300), listens: random() < 0.5 };
  const ownId = random() < 0.5 ? { taskId: `${seed}-${n}${random() < 0.2 ? ":x" : ""}` } : {};
  const blocks = random() < 0.01 ? { blocks: 300 } : {};
  if (kind !== "delayed") return { work: { ...base, kind, ...blocks, ...extrasOf(kind, random) }, options: ownId };
  const delay = Math.floor(500 + random() * Math.min(8_000, over / 2));
  const order = { work: { ...base, kind: "quick" as const }, options: { ...ownId, delay } };
  return random() < 0.5 ? { ...order, cancelAfter: random() * (delay + 300) } : order;
}

function kindOf(percent: number): TaskKind | "delayed" {
  let from = 0;
  for (const [kind, share] of SHARES) {
    from += share;
    if (percent < from) return kind;
  }
  return "quick";
}

function extrasOf(kind: TaskKind, random: () => number): Partial<Work> {
  switch (kind) {
    case "slow":
      return { ms: 200 + Math.floor(random() * 1_500), unwanted: random() < 0.15 };
    case "flaky":
      return { fails: 1 + Math.floor(random() * 3), unwanted: random() < 0.1 };
    case "doomed":
      return { fails: 9 };
    case "refuses":
      return { refuses: true };
    case "parent":
      return { adds: 1 + Math.floor(random() * 3), fails: random() < 0.3 ? 1 : 0 };
    case "timed":
      return { ms: random() < 0.5 ? 900 : 50 };
    default:
      return {};
  }
}
