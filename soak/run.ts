// The process that carries the load: `run.js short|long [SEED]`, or `run.js --minutes M [--engine E]`. Its exit code says whether the books balance.
import { parseArgs } from "node:util";
import { ENGINES, type EngineName } from "../chaos/kinds.js";
import { endure, shownSamples, wrongIn } from "./endure.js";
import { type EngineSoak, soakEngine } from "./engines.js";
import { type Balance, type Counted, isBalanced, total } from "./ledger.js";
import { type MemorySoak, soakMemory } from "./memory.js";
import { stores } from "./stores.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { engine: { type: "string" }, minutes: { type: "string" } },
});
const [form = "long", seed = String(Date.now() % 1_000_000)] = positionals;
const unhandled: unknown[] = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));

console.log(`Node ${process.version}, seed ${seed}\n`);
const wrong = await (values.minutes === undefined ? soakAll() : soakFor(Number(values.minutes), values.engine));
for (const reason of unhandled) wrong.push(`an unhandled rejection: ${reason}`);
for (const fault of wrong) console.error(`WRONG  ${fault}`);
process.exitCode = wrong.length === 0 ? 0 : 1;

async function soakAll(): Promise<string[]> {
  const size = form === "short" ? { memory: 10_000, engine: 100 } : { memory: 1_000_000, engine: 5_000 };
  const memory = await soakMemory(size.memory, Number(seed));
  console.log(shown("memory", memory));
  console.log(shownMemory(memory));
  const told = [...faults("memory", memory), ...leaks(memory)];
  for (const store of await stores()) {
    if (store.unavailable !== undefined) {
      if (process.env.CI) told.push(`${store.name}: ${store.unavailable}`);
      console.log(`${store.name}: left out, ${store.unavailable}`);
      continue;
    }
    const soaked = await soakEngine(store, size.engine, Number(seed));
    await store.close();
    console.log(`${shown(store.name, soaked)}, ${soaked.handedOver} handed over to another worker`);
    told.push(...faults(store.name, soaked));
  }
  return told;
}

async function soakFor(minutes: number, only: string | undefined): Promise<string[]> {
  const names = Object.keys(ENGINES) as EngineName[];
  const chosen = names.filter((name) => only === undefined || name === only);
  if (chosen.length === 0) throw new Error(`--engine: expected one of ${names.join(", ")}`);
  if (!(minutes > 0 && minutes <= 60)) throw new Error("--minutes: expected a number above 0, up to 60");
  const told: string[] = [];
  for (const name of chosen) {
    const endured = await endure(name, minutes, Number(seed));
    console.log(`${shown(name, endured)}, ${endured.stored} stored\n${shownSamples(endured)}`);
    told.push(...wrongIn(endured).map((fault) => `${name}: ${fault}`));
  }
  return told;
}

/** Enqueued = finished, by metrics and by hooks, once each, and nothing runs any more. */
function faults(name: string, { balance, ends, added, unknown }: MemorySoak | EngineSoak): string[] {
  const finished = total(balance);
  const told: string[] = [];
  if (balance.enqueued !== added) told.push(`${name}: ${added} tasks were added, ${balance.enqueued} counted`);
  if (!isBalanced(balance.enqueued, finished, unknown))
    told.push(`${name}: ${balance.enqueued} enqueued, ${finished} finished`);
  if (ends.otherwise > 0) told.push(`${name}: the hooks told the end of ${ends.otherwise} tasks never or twice`);
  if (balance.active !== 0) told.push(`${name}: ${balance.active} attempts are counted as active`);
  return told;
}

function leaks({ heapGrowth, handlesLeft }: MemorySoak): string[] {
  const told = handlesLeft.length === 0 ? [] : [`memory: handles are left, ${handlesLeft.join(", ")}`];
  // what a million tasks may leave, and what the noise of a short run is
  return heapGrowth > 5 ? [...told, `memory: ${heapGrowth.toFixed(1)} MB of heap are left`] : told;
}

function shown(name: string, { balance, added }: Pick<Counted, "added"> & { readonly balance: Balance }): string {
  const outcomes = Object.entries(balance.finished).map(([outcome, count]) => `${count} ${outcome}`);
  return `${name}: ${added} added, ${balance.enqueued} enqueued, ${total(balance)} finished (${outcomes.join(", ")})`;
}

function shownMemory({ seconds, heapAfter, heapGrowth, loopDelay, handlesLeft, added }: MemorySoak): string {
  const { p50, p99, max } = loopDelay;
  return [
    `  ${seconds.toFixed(1)} s, ${((seconds * 1e6) / added).toFixed(1)} µs a task`,
    `  heap after gc ${heapAfter.toFixed(1)} MB, ${heapGrowth.toFixed(2)} MB above the start`,
    `  event loop late by ${p50.toFixed(1)} ms (half), ${p99.toFixed(1)} ms (99 %), ${max.toFixed(1)} ms (most)`,
    `  handles left: ${handlesLeft.length}`,
  ].join("\n");
}
