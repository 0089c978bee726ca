// What each process writes down of its tasks: a line of JSON each, at once, so that a killed process has told all it did.
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/** Who an entry is about, by the task's own id and by the number that its tag `n` and its argument have. */
interface OfTask {
  readonly id: string;
  readonly n: string;
}

interface OfAttempt extends OfTask {
  /** Zero-based. */
  readonly attempt: number;
}

/** One type for each. */
type Said<E> = E extends string ? { readonly e: E; readonly error: string } : never;

export type HookName = "retry" | "success" | "failure" | "cancel";

export type Entry =
  | (OfTask & { readonly e: "enqueued"; readonly kind: string; readonly ms: number })
  // `stored` as a TaskStoreError says it
  | (Partial<OfTask> & { readonly e: "refused"; readonly n: string; readonly stored?: unknown; readonly error: string })
  | (OfAttempt & { readonly e: "started"; readonly wrong?: string | undefined })
  | (OfAttempt & { readonly e: "ended"; readonly how: string; readonly wrong?: string | undefined })
  | (OfAttempt & { readonly e: "hook"; readonly hook: HookName; readonly error?: string | undefined })
  | { readonly e: "cancelled"; readonly id: string; readonly answer: boolean; readonly ms: number }
  | SpanStarted
  | { readonly e: "span ended"; readonly span: string; readonly outcome?: unknown; readonly tagged: boolean }
  | { readonly e: "counted"; readonly metric: string; readonly change: number; readonly failed: boolean }
  | { readonly e: "working" }
  | { readonly e: "produced" }
  // `late`: ms by which this process's own timers came late meanwhile
  | {
      readonly e: "shutdown";
      readonly timeout: number;
      readonly ms: number;
      readonly late: number;
      readonly left: number;
    }
  | { readonly e: "exit"; readonly code: number }
  | Said<"unhandled" | "uncaught" | "diag" | "work rejected">
  | { readonly e: "alive"; readonly resources: readonly string[] }
  // written by the program itself
  | { readonly e: "signal"; readonly to: string; readonly signal: NodeJS.Signals }
  | { readonly e: "gone"; readonly who: string; readonly code: number | null; readonly error: string }
  | { readonly e: "hangs"; readonly who: string; readonly after: string }
  | { readonly e: "fault"; readonly fault: string; readonly on: string | undefined; readonly over: boolean };

export interface SpanStarted {
  readonly e: "span started";
  readonly span: string;
  readonly name: string;
  readonly id: unknown;
  readonly attempt: unknown;
  readonly redelivered: boolean;
  /** The values of `task.link`. */
  readonly links: readonly unknown[];
}

/** An entry with the process that wrote it, and when: epoch milliseconds that no skewed clock changes. */
export type Noted<T extends Entry = Entry> = T & { readonly by: string; readonly at: number };

/** Entries of one kind. */
export type Kind<K extends Entry["e"]> = Noted<Extract<Entry, { readonly e: K }>>;

export interface Journal {
  note(entry: Entry): void;
  close(): void;
}

const now = performance.now.bind(performance);
const { timeOrigin } = performance;

export function openJournal(folder: string, by: string): Journal {
  const file = openSync(join(folder, `${by}.jsonl`), "a");
  return {
    note: (entry) =>
      writeSync(file, `${JSON.stringify({ ...entry, by, at: Math.round((timeOrigin + now()) * 10) / 10 })}\n`),
    close: () => closeSync(file),
  };
}

/** All entries of all processes, in the order of their times. */
export function readJournals(folder: string): Noted[] {
  const files = readdirSync(folder).filter((name) => name.endsWith(".jsonl"));
  const lines = files.flatMap((name) => readFileSync(join(folder, name), "utf8").split("\n"));
  // a process may be killed in the middle of a line
  const whole = lines.filter((line) => line.endsWith("}"));
  return whole.map((line) => JSON.parse(line) as Noted).sort((a, b) => a.at - b.at);
}

/** The entries of one kind, in their order. */
export function ofKind<K extends Entry["e"]>(entries: readonly Noted[], kind: K): Kind<K>[] {
  return entries.filter((entry): entry is Kind<K> => entry.e === kind);
}

/** What an error says, short enough for a line. */
export function saidBy(error: unknown): string {
  return (error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : String(error)).slice(0, 800);
}
