// The course of a run: servers, processes, faults, the drain, and what is then found in journals and store.
import { setTimeout as wait } from "node:timers/promises";
import { seeded } from "../soak/random.js";
import { FAULTS, type FaultName, type Scene } from "./faults.js";
import { Fleet } from "./fleet.js";
import { type Noted, ofKind, openJournal, readJournals } from "./journal.js";
import type { ChaosOptions } from "./options.js";
import { TcpProxy } from "./proxy.js";
import { type Row, startTaskServer, type TaskServer } from "./servers.js";

/** What a run leaves to judge. */
export interface Remains {
  readonly entries: readonly Noted[];
  readonly rows: readonly Row[];
  readonly seconds: number;
}

const PRODUCER_ENDS_WITHIN_MS = 60_000;
/** Without one task less that is live; and in all. */
const STUCK_MS = 60_000;
const DRAINED_WITHIN_MS = 600_000;
const LOOK_EVERY_MS = 300;
/** Looks in a row that find nothing live: between two of them a task may be on its way from one state to another. */
const CALM_LOOKS = 4;

export async function runChaos(options: ChaosOptions, program: string, folder: string): Promise<Remains> {
  const start = performance.now();
  const { engine, seed, tasks, over } = options;
  const journal = openJournal(folder, "chaos");
  const store = await startTaskServer(engine);
  const proxy = await TcpProxy.start(store.server.port);
  const fleet = new Fleet(program, { engine, seed, folder, tasks, over, port: proxy.port }, journal);
  const random = seeded(seed + 1);
  const runningOn = (name: string): string[] => {
    const entries = readJournals(folder).filter(({ by }) => by === name);
    const ended = ofKind(entries, "ended");
    const running = ofKind(entries, "started").filter(
      ({ id, attempt, at }) => !ended.some((end) => end.id === id && end.attempt === attempt && end.at >= at),
    );
    return running.map(({ id }) => id);
  };
  const scene: Scene = { engine, fleet, proxy, store, random, runningOn, later: [] };
  try {
    await passFaults(options, scene, journal.note);
    await fleet.leaveAll();
    const rows = await drain(fleet, store);
    await fleet.leaveAll();
    return { entries: readJournals(folder), rows, seconds: Math.round((performance.now() - start) / 1_000) };
  } finally {
    fleet.killAll();
    proxy.close();
    await store.server.stop();
    journal.close();
  }
}

async function passFaults(
  options: ChaosOptions,
  scene: Scene,
  note: ReturnType<typeof openJournal>["note"],
): Promise<void> {
  const { fleet, proxy, random, later } = scene;
  // the first one makes the tables, or the queue
  await fleet.launch("worker").working;
  await Promise.all(Array.from({ length: options.short ? 1 : 2 }, () => fleet.launch("worker").working));
  const producer = fleet.launch("producer");
  await producer.working;
  const end = performance.now() + options.over;
  await wait(options.short ? 500 : 1_500);
  for (const fault of inTurn(options, random, () => performance.now() < end)) {
    // the short form has no time for faults that find nothing to do
    if (options.short) await Promise.all(fleet.workers().map(({ working }) => working));
    const on = pick(fleet.workers(), random)?.name ?? "";
    note({ e: "fault", fault, on, over: false });
    await FAULTS[fault].run(scene, on);
    note({ e: "fault", fault, on, over: true });
    await wait(options.short ? 200 + random() * 400 : 800 + random() * 2_500);
  }
  proxy.mode = "passing";
  await fleet.end(producer, PRODUCER_ENDS_WITHIN_MS);
  await Promise.all(later);
}

/** In the short form each once, else round after round as long as there is time. */
function* inTurn({ faults, short }: ChaosOptions, random: () => number, goesOn: () => boolean): Generator<FaultName> {
  do {
    for (const fault of shuffled(faults, random)) {
      if (!short && !goesOn()) return;
      yield fault;
    }
  } while (!short && faults.length > 0);
}

/** Workers that nothing happens to run what is left; what is stored once nothing is live, or nothing goes on. */
async function drain(fleet: Fleet, store: TaskServer): Promise<Row[]> {
  await fleet.launch("worker", { onlyWorker: true }).working;
  await fleet.launch("worker").working;
  const start = performance.now();
  let [fewest, since, calm] = [Number.POSITIVE_INFINITY, start, 0];
  for (;;) {
    const rows = await store.rows("all");
    const now = performance.now();
    const live = rows.filter(({ state }) => state === "live").length;
    if (live < fewest) [fewest, since] = [live, now];
    calm = live === 0 ? calm + 1 : 0;
    if (calm >= CALM_LOOKS || now - since > STUCK_MS || now - start > DRAINED_WITHIN_MS) return rows;
    await wait(LOOK_EVERY_MS);
  }
}

function pick<T>(from: readonly T[], random: () => number): T | undefined {
  return from[Math.floor(random() * from.length)];
}

function shuffled<T>(given: readonly T[], random: () => number): T[] {
  const keyed = given.map((one) => ({ one, key: random() }));
  return keyed.sort((a, b) => a.key - b.key).map(({ one }) => one);
}
