// The audit: each check finds what must not have happened, whatever the faults.
import type { CouldStore } from "./calm.js";
import { type Attempt, type History, type ProcessHistory, type TaskHistory, toldOf } from "./history.js";
import { ofKind } from "./journal.js";

export interface Evidence extends History {
  readonly couldStore: CouldStore;
}

/** A line for each thing found. */
export type Check = (evidence: Evidence) => string[];

/** Milliseconds after which an answer of `cancel()` has been heard by whoever starts attempts in that process. */
const HEARD_MS = 30;
const OVERSHOOT_MS = 1_000;

/** By their names in docs/reliability.md, in their order there. */
export const CHECKS = {
  "told its end twice by one worker": ofTasksStoredOnce(({ ends }) => repeats(ends.map(({ by }) => by))),
  "run again by the worker that ended it": ofTasksStoredOnce(runAgainBySame),
  "run again after its end was stored": ofTasksStoredOnce(runAgainAfterStored),
  "lost: accepted, and neither told nor stored": ofTasks(
    ({ accepted, ends, rows }) =>
      accepted !== undefined && ends.length === 0 && rows.every(({ state }) => state === "replaced"),
  ),
  "still not ended after the drain": ofTasks(({ rows }) => rows.some(({ state }) => state === "live")),
  "success stored as failure": ofTasks(
    ({ ends, rows }) =>
      rows.some(({ state }) => state === "failed") &&
      ends.some(({ hook }) => hook === "success") &&
      !ends.some(({ hook }) => hook === "failure" || hook === "cancel"),
  ),
  "ended in the store, and nobody was told": ofTasks(
    (task, evidence) => isUntold(task) && !lastRunnerWasHit(task, evidence),
  ),
  "ended otherwise than its function says": ofTasks(endedOtherwise),
  "run, though its enqueue is said to be not stored": ofTasks(
    ({ accepted, refused, starts }) => accepted === undefined && refused?.stored === false && starts.length > 0,
  ),
  "run after cancel() was true": ofTasks(({ cancels, starts }) =>
    cancels.some(({ answer, at }) => answer && starts.some((start) => start.at > at + HEARD_MS)),
  ),
  "wrong id, tags or context": ({ entries, tasks }) => [
    ...[...ofKind(entries, "started"), ...ofKind(entries, "ended")].flatMap(({ wrong, id, by }) =>
      wrong === undefined ? [] : [`${id} on ${by}: ${wrong}`],
    ),
    ...ofKind(entries, "span ended").flatMap(({ tagged, span, by }) =>
      tagged ? [] : [`span ${span} of ${by} has no tag`],
    ),
    ...tasks.filter(({ accepted, starts }) => starts.some(({ n }) => n !== (accepted?.n ?? n))).map(toldOf),
  ],
  "attempt skipped or gone back": ofTasksStoredOnce(({ attempts }, evidence) =>
    attempts.some((one, index) => {
      const highest = Math.max(-1, ...attempts.slice(0, index).map(({ attempt }) => Number(attempt)));
      const attempt = Number(one.attempt);
      return attempt > highest + 1 || (attempt < highest && isInTurn(one, evidence));
    }),
  ),
  "repeated without `redelivered`": ofTasksStoredOnce(({ attempts }, evidence) => {
    // one of them may be the first one's, however late its worker came to start it
    const first = attempts.filter((one) => !one.redelivered && one.outcome !== "deferred" && isInTurn(one, evidence));
    return repeats(first.map(({ attempt }) => String(attempt)));
  }),
  "retry without a link to the attempt before": ofTasks(({ attempts }) =>
    attempts.some(({ attempt, links }) => Number(attempt) > 0 && !links.includes("previous_attempt")),
  ),
  "span never ended, in a process that left by itself": ({ openSpans }) =>
    openSpans.map(({ by, name, id, attempt }) => `${name} of ${id}, attempt ${attempt}, on ${by}`),
  "unhandled rejection or uncaught error": ({ entries }) =>
    [...ofKind(entries, "unhandled"), ...ofKind(entries, "uncaught")].map(
      ({ e, by, error }) => `${e} on ${by}: ${error}`,
    ),
  "shutdown that took its timeout and more than a second": ({ entries }) =>
    ofKind(entries, "shutdown")
      .filter(({ ms, timeout, late }) => ms - late > timeout + OVERSHOOT_MS)
      .map(({ by, ms, timeout, late }) => `${by}: ${ms} ms with a timeout of ${timeout} (timers were ${late} ms late)`),
  "process that does not exit": ({ entries }) => [
    ...ofKind(entries, "alive").map(({ by, resources }) => `${by} after shutdown(): ${resources.join(", ")}`),
    ...ofKind(entries, "hangs").map(({ who, after }) => `${who} after ${after}`),
  ],
  "process whose counts are not what it told": miscounted,
} as const satisfies Record<string, Check>;

/** What at-least-once delivery may bring about, by its name in docs/reliability.md: told, and no failure. */
export const NOTES = {
  "told by a second worker, since the first one could not store it any more": ofTasks(
    ({ ends }) => new Set(ends.map(({ by }) => by)).size > 1,
  ),
  "cancelled in the store, and its worker was killed before it told": ofTasks(
    (task, evidence) => isUntold(task) && lastRunnerWasHit(task, evidence),
  ),
  "left in the store without a task, since its worker was killed before it was removed": ofTasks(({ rows }) =>
    rows.some(({ state }) => state === "replaced"),
  ),
  "stored again after it had ended, since the client sent the request again whose answer was lost":
    ofTasks(isStoredAgain),
} as const satisfies Record<string, Check>;

function ofTasks(isWrong: (task: TaskHistory, evidence: Evidence) => boolean): Check {
  return (evidence) => evidence.tasks.filter((task) => isWrong(task, evidence)).map(toldOf);
}

function ofTasksStoredOnce(isWrong: (task: TaskHistory, evidence: Evidence) => boolean): Check {
  return ofTasks((task, evidence) => !isStoredAgain(task) && isWrong(task, evidence));
}

// As ioredis does it: the task's first life has ended before `addTask` has its answer, and it begins once more.
function isStoredAgain({ accepted, ends, attempts }: TaskHistory): boolean {
  return ends.some(
    ({ at }) =>
      accepted !== undefined &&
      at < accepted.at &&
      attempts.some((one) => one.at > at && Number(one.attempt) === 0 && !one.redelivered),
  );
}

// A worker that had stood still may have been given it long before, when nobody else had been.
function isInTurn({ by, at }: Attempt, { processes }: Evidence): boolean {
  return at < (processes.get(by)?.hitAt ?? Number.POSITIVE_INFINITY);
}

function runAgainBySame({ attempts, hooks }: TaskHistory): boolean {
  return attempts.some(({ by, at, attempt }) =>
    hooks.some((told) => told.by === by && told.at < at && told.attempt >= Number(attempt)),
  );
}

// An attempt is run, though its end, or a later one, had been told by a worker that had the time to store it, or has left,
// without a word of what it could not store.
function runAgainAfterStored({ id, attempts, hooks }: TaskHistory, evidence: Evidence): boolean {
  const { processes, couldStore } = evidence;
  return attempts.some((one) =>
    hooks.some((told) => {
      const teller = processes.get(told.by);
      const isRepeat = told.at < one.at && (told.attempt >= Number(one.attempt) || told.hook !== "retry");
      if (!isRepeat || teller === undefined || !isInTurn(one, evidence) || admits(teller, id)) return false;
      return couldStore(teller, told.at, one.at) || (teller.leftAt ?? Number.POSITIVE_INFINITY) < one.at;
    }),
  );
}

function admits({ entries }: ProcessHistory, id: string): boolean {
  const admissions = [`task ${id} is not stored`, "what a stopped worker held could not be freed yet"];
  return ofKind(entries, "diag").some(({ error }) => admissions.some((words) => error.includes(words)));
}

function isUntold({ ends, rows }: TaskHistory): boolean {
  return ends.length === 0 && rows.some(({ state }) => state !== "live" && state !== "replaced");
}

// The end of a cancelled attempt is stored before anyone is told.
function lastRunnerWasHit({ attempts }: TaskHistory, { processes }: Evidence): boolean {
  const last = attempts.at(-1);
  return last !== undefined && processes.get(last.by)?.hitAt !== Number.POSITIVE_INFINITY;
}

function endedOtherwise({ accepted, ends, cancels }: TaskHistory, { processes }: Evidence): boolean {
  if (accepted === undefined || ends.length === 0) return false;
  const cancelled = cancels.filter(({ answer }) => answer);
  if (cancelled.length > 0) {
    // one that was killed just then may not have told
    return (
      cancelled.every(({ by }) => processes.get(by)?.leftAt !== undefined) &&
      !ends.some(({ hook }) => hook === "cancel")
    );
  }
  if (accepted.kind === "timed") return false;
  const own = accepted.kind === "doomed" || accepted.kind === "refuses" ? "failure" : "success";
  return ends.some(({ hook }) => hook !== own && hook !== "cancel");
}

function miscounted({ processes }: Evidence): string[] {
  return [...processes.values()].flatMap(({ name, entries: own, leftAt }) => {
    if (leftAt === undefined) return [];
    const sum = (metric: string): number =>
      ofKind(own, "counted").reduce((total, one) => total + (one.metric === metric && !one.failed ? one.change : 0), 0);
    const accepted = ofKind(own, "enqueued").length;
    const told = ofKind(own, "hook").filter(({ hook }) => hook !== "retry").length;
    const counted = [sum("task.enqueued"), sum("task.finished"), sum("task.attempt.active")];
    if (counted.join() === [accepted, told, 0].join()) return [];
    return [`${name}: enqueued, finished, active are ${counted.join(", ")}; accepted ${accepted}, told ${told}`];
  });
}

function repeats(names: readonly string[]): boolean {
  return new Set(names).size < names.length;
}
