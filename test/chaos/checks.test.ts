import { expect, test } from "vitest";
import { couldStoreIn } from "../../chaos/calm.js";
import { CHECKS, NOTES } from "../../chaos/checks.js";
import { historyOf } from "../../chaos/history.js";
import type { Entry, HookName, Noted } from "../../chaos/journal.js";
import type { Row } from "../../chaos/servers.js";

const STEP_MS = 100;
let now = 0;
let spans = 0;

test("the audit of chaos finds nothing in a task that fails once, loses a worker and succeeds", () => {
  const life = [
    accepted(),
    ...run("a", 0, "retry"),
    ...run("b", 1),
    killed("b"),
    ...run("c", 1, "success", true),
    left("c"),
  ];
  expect(foundIn(life)).toEqual([]);
});

test("the audit of chaos takes a task that its client stored again for no run again", () => {
  const life = [...run("a", 0, "success"), ...run("a", 0, "success"), accepted()];
  const noted = "stored again after it had ended, since the client sent the request again whose answer was lost";
  expect(foundIn(life)).toEqual([noted]);
});

test("the audit of chaos finds what must not happen, each by its own check", () => {
  const hangs: Entry = { e: "hangs", who: "a", after: "SIGTERM" };
  const late: Entry = { e: "shutdown", timeout: 1_500, ms: 2_900, late: 300, left: 0 };
  const refused: Entry = { e: "refused", n: "1", stored: false, error: "TaskStoreError" };
  const twice = [...run("a", 0, "success"), by("a", hook(0, "success"))];
  const untagged = by("a", { e: "span ended", span: "x", tagged: false });
  const skips = [...run("a", 0, "retry"), ...run("a", 2, "success", false, ["previous_attempt"])];
  const lives: Record<string, [Noted[], Row[]?]> = {
    "told its end twice by one worker": [[accepted(), ...twice]],
    "run again by the worker that ended it": [[accepted(), ...run("a", 0, "retry"), ...run("a", 0, "success", true)]],
    "run again after its end was stored": [
      [accepted(), ...run("a", 0, "success"), left("a"), ...run("b", 0, "success", true)],
    ],
    "lost: accepted, and neither told nor stored": [[accepted(), ...run("a", 0)]],
    "still not ended after the drain": [[accepted()], [row("live")]],
    "success stored as failure": [[accepted(), ...run("a", 0, "success")], [row("failed")]],
    "ended in the store, and nobody was told": [[accepted(), ...run("a", 0)], [row("failed")]],
    "ended otherwise than its function says": [[accepted(), ...run("a", 0, "failure")]],
    "run, though its enqueue is said to be not stored": [[by("p", refused), ...run("a", 0, "success")]],
    "run after cancel() was true": [[accepted(), by("a", cancelled()), by("a", hook(0, "cancel")), ...run("b", 0)]],
    "wrong id, tags or context": [[accepted(), untagged, ...run("a", 0, "success")]],
    "attempt skipped or gone back": [[accepted(), ...skips]],
    "repeated without `redelivered`": [[accepted(), ...run("a", 0), killed("a"), ...run("b", 0, "success")]],
    "retry without a link to the attempt before": [
      [accepted(), ...run("a", 0, "retry"), ...run("b", 1, "success", false, [])],
    ],
    "span never ended, in a process that left by itself": [
      [accepted(), ...run("a", 0, "success"), span("a", 0), left("a")],
    ],
    "unhandled rejection or uncaught error": [[by("a", { e: "unhandled", error: "Error" })]],
    "shutdown that took its timeout and more than a second": [[by("a", late)]],
    "process that does not exit": [[by("chaos", hangs)]],
    "process whose counts are not what it told": [[by("a", hook(0, "success")), left("a")]],
    "told by a second worker, since the first one could not store it any more": [
      [accepted(), ...run("a", 0, "success"), killed("a"), ...run("b", 0, "success", true)],
    ],
    "cancelled in the store, and its worker was killed before it told": [
      [accepted(), ...run("a", 0), killed("a")],
      [row("failed")],
    ],
    "left in the store without a task, since its worker was killed before it was removed": [
      [accepted(), ...run("a", 0, "success")],
      [row("replaced")],
    ],
    "stored again after it had ended, since the client sent the request again whose answer was lost": [
      [...run("a", 0, "success"), ...run("a", 0), accepted()],
    ],
  };
  expect(Object.keys(lives)).toEqual(Object.keys({ ...CHECKS, ...NOTES }));
  for (const [name, [entries, rows]] of Object.entries(lives)) expect(foundIn(entries, rows), name).toContain(name);
});

function foundIn(entries: readonly Noted[], rows: readonly Row[] = []): string[] {
  const evidence = { ...historyOf({ entries, rows }), couldStore: couldStoreIn(entries) };
  const found = Object.entries({ ...CHECKS, ...NOTES }).filter(([, check]) => check(evidence).length > 0);
  return found.map(([name]) => name);
}

/** An entry of this process, a moment after the one before. */
function by<T extends Entry>(name: string, entry: T): Noted<T> {
  now += STEP_MS;
  return { ...entry, by: name, at: now };
}

function accepted(): Noted {
  return by("p", { e: "enqueued", id: "t", n: "1", kind: "quick", ms: 1 });
}

/** One attempt, and what was told of it. */
function run(name: string, attempt: number, told?: HookName, redelivered = false, links = linksOf(attempt)): Noted[] {
  const started = span(name, attempt, redelivered, links);
  const body: Entry = { e: "started", id: "t", n: "1", attempt };
  const ended: Entry = { e: "span ended", span: started.span, outcome: told, tagged: true };
  const finished: Entry[] =
    told === undefined || told === "retry" ? [] : [{ e: "counted", metric: "task.finished", change: 1, failed: false }];
  const end = told === undefined ? [] : [hook(attempt, told), ended, ...finished];
  return [started, ...[body, ...end].map((entry) => by(name, entry))];
}

function span(name: string, attempt: number, redelivered = false, links = linksOf(attempt)) {
  spans += 1;
  const about = { id: "t", attempt, redelivered, links };
  return by(name, { e: "span started" as const, span: String(spans), name: "process quick", ...about });
}

function linksOf(attempt: number): string[] {
  return attempt === 0 ? [] : ["previous_attempt"];
}

function hook(attempt: number, told: HookName): Entry {
  return { e: "hook", hook: told, id: "t", n: "1", attempt };
}

function cancelled(): Entry {
  return { e: "cancelled", id: "t", answer: true, ms: 1 };
}

function killed(name: string): Noted {
  return by("chaos", { e: "signal", to: name, signal: "SIGKILL" });
}

function left(name: string): Noted {
  return by(name, { e: "exit", code: 0 });
}

function row(state: Row["state"]): Row {
  return { id: "t", state, detail: "" };
}
