// One process under test, a producer or a worker: `process.mjs SETTINGS`, as JSON. It writes its journal, and leaves on SIGTERM.
import { Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { type TaskHook, TaskManager } from "otel-taskflow";
import { seeded } from "../soak/random.js";
import { skewClock } from "./clock.js";
import { openEngine } from "./engines.js";
import { type HookName, openJournal, saidBy } from "./journal.js";
import type { ProcessSettings } from "./kinds.js";
import { createLoad } from "./load.js";
import { produce } from "./produce.js";
import { registerTelemetry } from "./telemetry.js";

const EXITS_WITHIN_MS = 15_000;
const TICK_MS = 50;

// whoever started it holds the other end, and is gone when it is closed
process.stdin.on("end", () => process.exit(72)).resume();
if (process.stdin instanceof Socket) process.stdin.unref();

const settings = JSON.parse(process.argv[2] ?? "") as ProcessSettings;
const journal = openJournal(settings.folder, settings.name);
const { note } = journal;
process.on("unhandledRejection", (error) => note({ e: "unhandled", error: saidBy(error) }));
process.on("uncaughtException", (error) => {
  note({ e: "uncaught", error: saidBy(error) });
  process.exit(70);
});
process.on("exit", (code) => note({ e: "exit", code }));

const meterProvider = registerTelemetry(journal);
const opened = await openEngine(settings.engine, settings);
const hooks = {
  onRetry: told("retry"),
  onSuccess: told("success"),
  onFailure: told("failure"),
  onCancel: told("cancel"),
};
const tasks = new TaskManager({ engine: opened.engine, meterProvider, onNotice: false, ...hooks });
const load = createLoad(tasks, journal, settings);
let leaving: Promise<void> | undefined;
process.on("SIGTERM", () => {
  leaving ??= leave(settings.role === "worker" ? 1_500 : 5_000);
});
if (settings.clock !== 0) skewClock(settings.clock);
await (settings.role === "worker" ? work() : produceAll());

async function work(): Promise<void> {
  while (leaving === undefined) {
    try {
      await tasks.work();
      break;
    } catch (error) {
      note({ e: "work rejected", error: saidBy(error) });
      await wait(500);
    }
  }
  note({ e: "working" });
  console.log("working");
  const random = seeded(settings.seed + process.pid);
  const canceller = setInterval(() => {
    const [unwanted] = leaving === undefined ? load.unwanted() : [];
    if (unwanted !== undefined && random() < 0.3) void load.cancel(unwanted);
  }, 400);
  canceller.unref();
}

async function produceAll(): Promise<void> {
  await produce(load, settings);
  note({ e: "produced" });
  leaving ??= leave(5_000);
}

async function leave(timeout: number): Promise<void> {
  const late = lateness();
  const start = performance.now();
  const report = await tasks.shutdown({ timeout });
  const ms = Math.round(performance.now() - start);
  note({ e: "shutdown", timeout, ms, late: late(), left: report.abandoned.length });
  const guard = setTimeout(() => {
    note({ e: "alive", resources: process.getActiveResourcesInfo() });
    process.exit(71);
  }, EXITS_WITHIN_MS);
  guard.unref();
  if (opened.close === undefined) return;
  // the pool is the application's own, and so is what it does with one that cannot be closed
  await Promise.race([opened.close(), wait(1_000)]);
  process.exit();
}

// How late timers come on a busy machine, or in a process that stood still; until it is asked.
function lateness(): () => number {
  let late = 0;
  let last = performance.now();
  const tick = (): void => {
    const now = performance.now();
    late += Math.max(0, now - last - TICK_MS);
    last = now;
  };
  const timer = setInterval(tick, TICK_MS);
  timer.unref();
  return () => {
    tick();
    clearInterval(timer);
    return Math.round(late);
  };
}

function told(hook: HookName): TaskHook {
  return ({ context: { taskId: id, attempt, tags }, error }) => {
    note({
      e: "hook",
      hook,
      id,
      attempt,
      n: tags.n ?? "",
      error: error === undefined ? undefined : saidBy(error).slice(0, 100),
    });
  };
}
