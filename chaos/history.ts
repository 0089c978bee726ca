// The journals, put together by task and by process.
import { type Kind, type Noted, ofKind, type SpanStarted } from "./journal.js";
import type { Remains } from "./run.js";
import type { Row } from "./servers.js";

/** A span of an attempt. */
export interface Attempt extends Noted<SpanStarted> {
  /** `undefined` where it was never ended. */
  readonly outcome: unknown;
}

export interface TaskHistory {
  readonly id: string;
  readonly accepted: Kind<"enqueued"> | undefined;
  readonly refused: Kind<"refused"> | undefined;
  readonly starts: readonly Kind<"started">[];
  readonly hooks: readonly Kind<"hook">[];
  /** Those that say how the task ended. */
  readonly ends: readonly Kind<"hook">[];
  readonly cancels: readonly Kind<"cancelled">[];
  readonly attempts: readonly Attempt[];
  readonly rows: readonly Row[];
}

export interface ProcessHistory {
  readonly name: string;
  readonly entries: readonly Noted[];
  /** Epoch ms at which it was killed, or first stood still; infinite for one that was left in peace. */
  readonly hitAt: number;
  /** Epoch ms at which it ended, whatever its exit code; infinite for one that was killed. */
  readonly goneAt: number;
  /** Epoch ms at which it ended by itself, with exit code 0. */
  readonly leftAt: number | undefined;
}

export interface History {
  readonly tasks: readonly TaskHistory[];
  readonly processes: ReadonlyMap<string, ProcessHistory>;
  readonly entries: readonly Noted[];
  /** Spans of processes that ended by themselves, and were never ended. */
  readonly openSpans: readonly Noted<SpanStarted>[];
}

export function historyOf({ entries, rows }: Pick<Remains, "entries" | "rows">): History {
  const processes = processesOf(entries);
  const spanEnds = new Map(ofKind(entries, "span ended").map((end) => [end.span, end]));
  const spans = ofKind(entries, "span started");
  const open = spans.filter(({ span, by }) => !spanEnds.has(span) && processes.get(by)?.leftAt !== undefined);
  const attempts = spans
    .filter(({ name }) => name.startsWith("process "))
    .map((span): Attempt => ({ ...span, outcome: spanEnds.get(span.span)?.outcome }));
  return { entries, processes, openSpans: open, tasks: tasksOf(entries, attempts, rows) };
}

function tasksOf(entries: readonly Noted[], attempts: readonly Attempt[], rows: readonly Row[]): TaskHistory[] {
  const enqueued = byId(ofKind(entries, "enqueued"));
  const starts = byId(ofKind(entries, "started"));
  const hooks = byId(ofKind(entries, "hook"));
  const cancels = byId(ofKind(entries, "cancelled"));
  const spans = groupBy(attempts, ({ id }) => String(id));
  const stored = groupBy(rows, ({ id }) => id);
  const refusals = new Map(ofKind(entries, "refused").map((refused) => [refused.n, refused]));
  return [...new Set([...enqueued.keys(), ...starts.keys(), ...hooks.keys()])].map((id) => {
    const told = hooks.get(id) ?? [];
    const n = starts.get(id)?.[0]?.n;
    return {
      ...{ id, accepted: enqueued.get(id)?.[0], refused: n === undefined ? undefined : refusals.get(n) },
      ...{ starts: starts.get(id) ?? [], hooks: told, ends: told.filter(({ hook }) => hook !== "retry") },
      ...{ cancels: cancels.get(id) ?? [], attempts: spans.get(id) ?? [], rows: stored.get(id) ?? [] },
    };
  });
}

function byId<T extends { readonly id: string }>(entries: readonly T[]): Map<string, T[]> {
  return groupBy(entries, ({ id }) => id);
}

function groupBy<T>(all: readonly T[], keyOf: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const key = keyOf(one);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [one]);
    else group.push(one);
  }
  return groups;
}

function processesOf(entries: readonly Noted[]): Map<string, ProcessHistory> {
  const own = groupBy(entries, ({ by }) => by);
  own.delete("chaos");
  const signals = ofKind(entries, "signal");
  const histories = [...own].map(([name, its]): [string, ProcessHistory] => {
    const hit = signals.find(({ to, signal }) => to === name && (signal === "SIGKILL" || signal === "SIGSTOP"));
    const exit = ofKind(its, "exit").at(-1);
    const [hitAt, goneAt] = [hit, exit].map((entry) => entry?.at ?? Number.POSITIVE_INFINITY) as [number, number];
    return [name, { name, entries: its, hitAt, goneAt, leftAt: exit?.code === 0 ? exit.at : undefined }];
  });
  return new Map(histories);
}

/** A task's whole life in one line, for whoever looks into a finding. */
export function toldOf(task: TaskHistory): string {
  const { id, accepted, starts, hooks, cancels, attempts, rows } = task;
  const from = (accepted ?? starts[0] ?? hooks[0])?.at ?? 0;
  const moments: { at: number; by: string; text: string }[] = [
    ...(accepted === undefined ? [] : [{ ...accepted, text: `enqueued ${accepted.kind}` }]),
    ...attempts.map((one) => ({
      ...one,
      text: `run ${one.attempt}${one.redelivered ? "R" : ""} → ${one.outcome ?? "?"}`,
    })),
    ...hooks.map((one) => ({ ...one, text: `told ${one.hook}` })),
    ...cancels.map((one) => ({ ...one, text: `cancel() ${one.answer}` })),
  ];
  const told = moments
    .sort((a, b) => a.at - b.at)
    .map(({ at, by, text }) => `+${((at - from) / 1_000).toFixed(2)} ${by} ${text}`);
  const stored = rows.map(({ state, detail }) => `stored ${state} (${detail})`);
  return `${id}: ${[...told, ...stored].join(", ")}`;
}
