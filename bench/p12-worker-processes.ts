// A backlog of no-op tasks, drained by 1, 2 and 4 processes through each engine, without an SDK, against the library
// alone with as many processes, the same concurrency and an equal handler; and what adding tasks costs. REDIS_URL and
// DATABASE_URL, or the usual ports.
import { PGlite } from "@electric-sql/pglite";
import { fromPglite, PgBoss } from "pg-boss";
import { drainRounds } from "./harness/drain.js";
import { type Measurement, type Round, timed } from "./harness/measurement.js";
import { jobsOf, type Library, managerOn, type SideName, WAYS } from "./harness/ways.js";

const PROCESSES = [1, 2, 4];
/** Enough that the code is compiled before it is timed: of the slowest library, fewer. */
const TASKS: Record<Library, number> = { bullmq: 4_000, "pg-boss": 4_000, "graphile-worker": 1_500 };
const TASKS_ON_PGLITE = 2_000;
const ADDS = 2_000;
const ADDS_AT_ONCE = 100;
const TARGET = 1.11; // 0.9 of the library's own throughput
const common = { unit: "µs", judgement: "ratio", target: TARGET, rounds: 4, warmUp: 4, pairs: 2 } as const;

export const measurements: readonly Measurement[] = [
  ...rowsOf("bullmq", "BullMQ", "`queue.add`"),
  ...rowsOf("pg-boss", "pg-boss", "`boss.send`"),
  ...rowsOf("graphile-worker", "graphile-worker", "`utils.addJob`"),
  {
    ...common,
    what: `${TASKS_ON_PGLITE} tasks added and drained, pg-boss on PGlite, against \`insert\` of all and \`work\` alone`,
    ours: () => onPglite("ours"),
    peer: () => onPglite("peer"),
  },
];

function rowsOf(library: Library, name: string, add: string): Measurement[] {
  const drains = PROCESSES.map((processes) => ({
    ...common,
    what: `a no-op task of a backlog, ${name}, ${processes} ${processes === 1 ? "process" : "processes"}`,
    ours: () => drainRounds(library, "ours", processes, TASKS[library]),
    peer: () => drainRounds(library, "peer", processes, TASKS[library]),
  }));
  const adds = {
    ...common,
    what: `an \`addTask\`, ${name}, ${ADDS_AT_ONCE} at once, against ${add}`,
    ours: () => addRounds(library, "ours"),
    peer: () => addRounds(library, "peer"),
  };
  return [...drains, adds];
}

async function addRounds(library: Library, side: SideName): Promise<Round> {
  const way = await WAYS[library][side](`bench_${process.pid}`);
  process.once("disconnect", async () => {
    await way.remove();
    process.exit(); // a manager for adding has connections
  });
  const round = timed("µs", ADDS, async () => {
    for (let added = 0; added < ADDS; added += ADDS_AT_ONCE) {
      await Promise.all(Array.from({ length: ADDS_AT_ONCE }, () => way.add()));
    }
  });
  return async () => {
    const figure = await round();
    await way.empty();
    return figure;
  };
}

// In one process and on one connection, with pg-boss started before.
async function onPglite(side: SideName): Promise<Round> {
  const boss = new PgBoss({ backend: "pglite", db: fromPglite(new PGlite()), supervise: false, schedule: false });
  await boss.start();
  const way = side === "ours" ? managerOn(boss) : await jobsOf(boss);
  const round = timed("µs", TASKS_ON_PGLITE, async () => {
    await way.fill(TASKS_ON_PGLITE);
    let left = TASKS_ON_PGLITE;
    let stop: (() => Promise<unknown>) | undefined;
    await new Promise<void>((resolve, reject) => {
      const noop = async (): Promise<void> => {
        left -= 1;
        if (left === 0) resolve();
      };
      way.work(noop).then((stopping) => (stop = stopping), reject);
    });
    await stop?.();
  });
  process.once("disconnect", () => process.exit()); // a manager for adding goes on
  return async () => {
    const figure = await round();
    await boss.deleteAllJobs();
    return figure;
  };
}
