import { UnknownTaskError } from "../core/errors.js";
import { describeException } from "../core/exception.js";
import { quietly, safely, warn } from "../core/guard.js";
import { outsideTasks } from "../core/live-attempt.js";
import { ERROR_TYPE_OTHER, SCOPE_NAME } from "../core/semconv.js";
import { cut, storable } from "../core/text.js";
import type { TaskContext } from "../core/types.js";

/** What a manager has to say where a lost background task would be silent. */
export interface TaskNotice {
  /**
   * A task gave up; the store cannot be reached, or can again; a task arrived whose name is not registered with this
   * manager; a tag was cut.
   */
  readonly kind: "gave-up" | "store" | "unknown-task" | "tag";
  /** One line, without the error. */
  readonly message: string;
  /** The attempt that gave up. */
  readonly context?: TaskContext | undefined;
  /** What the task gave up with, or why the store cannot be reached. */
  readonly error?: unknown;
}

/** Hears each notice; what it throws goes to diag. */
export type NoticeListener = (notice: TaskNotice) => void;

/** Says a notice wherever notices go. Never throws. */
export interface Voice {
  /** `about`: the task's name, or whatever else has lines of its own. */
  say(notice: TaskNotice, about: string): void;
  /** Says how many lines were left out, at the end. */
  close(): void;
}

/** Lines of one kind and task: no more than one in this time. */
const QUIET_MS = 60_000;
/** What is counted apart. Names come from a store too: beyond this, tasks share their kind's count. */
const MAX_APART = 1_000;
const MAX_LINE = 1_000;
const MAX_MESSAGE = 200;
const SILENT: Voice = Object.freeze({ say: () => {}, close: () => {} });

/**
 * `onNotice` as it was given: its listener, nothing for `false`, and by default lines on stderr. `hearsFailures`: a hook
 * hears of tasks that gave up already.
 */
export function voiceOf(onNotice: false | NoticeListener | undefined, hearsFailures: boolean): Voice {
  if (onNotice === false) return SILENT;
  if (onNotice === undefined) return new Lines(hearsFailures);
  return {
    say: (notice) => void quietly("onNotice", async () => await onNotice(notice)),
    close: () => {},
  };
}

interface Counted {
  leftOut: number;
  last: TaskNotice;
  timer: NodeJS.Timeout;
}

/** Writes notices to stderr, one line each, at most one a minute of a kind and task. */
class Lines implements Voice {
  readonly #hearsFailures: boolean;
  readonly #counted = new Map<string, Counted>();

  constructor(hearsFailures: boolean) {
    this.#hearsFailures = hearsFailures;
  }

  say(notice: TaskNotice, about: string): void {
    if (notice.kind === "gave-up" && this.#hearsFailures) return;
    const key = this.#keyOf(notice, about);
    const counted = this.#counted.get(key);
    if (counted !== undefined) {
      counted.leftOut += 1;
      counted.last = notice;
      return;
    }
    write(notice, 0);
    this.#listen(key, notice);
  }

  close(): void {
    for (const { leftOut, last, timer } of this.#counted.values()) {
      clearTimeout(timer);
      if (leftOut > 0) write(last, leftOut - 1);
    }
    this.#counted.clear();
  }

  #listen(key: string, last: TaskNotice): void {
    const timer = outsideTasks(() => setTimeout(() => this.#minuteOver(key), QUIET_MS));
    this.#counted.set(key, { leftOut: 0, last, timer });
    // a line that may follow keeps no process alive
    timer.unref();
  }

  #minuteOver(key: string): void {
    const counted = this.#counted.get(key);
    this.#counted.delete(key);
    if (counted === undefined || counted.leftOut === 0) return;
    write(counted.last, counted.leftOut - 1);
    this.#listen(key, counted.last);
  }

  #keyOf({ kind }: TaskNotice, about: string): string {
    const key = `${kind} ${about}`;
    return this.#counted.size < MAX_APART || this.#counted.has(key) ? key : kind;
  }
}

function write({ kind, message, error }: TaskNotice, leftOut: number): void {
  const withError = kind === "gave-up" || error !== undefined ? `${message}: ${shortly(error)}` : message;
  const count = leftOut === 0 ? "" : ` (${leftOut} more like this since the line before)`;
  // a text of others may hold what moves a terminal's cursor or begins another line
  const text = storable(withError).replace(/[\p{Cc}\u2028\u2029]+/gu, " ");
  const line = `${SCOPE_NAME}: ${cut(text, MAX_LINE)}${count}`;
  // not process.stderr: a pipe that was closed at its other end would end the process
  safely("telling a notice", () => console.error(line));
}

function shortly(error: unknown): string {
  const { type, message } = describeException(error);
  const text = cut(message, MAX_MESSAGE);
  return type === ERROR_TYPE_OTHER ? text : `${cut(type, MAX_MESSAGE)}: ${text}`;
}

/** Says that a task gave up. */
export function tellGaveUp(voice: Voice, task: TaskContext, error: unknown): void {
  const { taskId, funcName, attempt } = task;
  const message = `task "${funcName}" gave up after ${attempt + 1} attempt${attempt === 0 ? "" : "s"} (id ${taskId})`;
  voice.say({ kind: "gave-up", message, context: task, error }, funcName);
}

/** Says that a task was given back whose name no one here knows. */
export function tellUnknown(voice: Voice, funcName: string): void {
  const message = `no task named "${funcName}" is registered with this manager`;
  warn("a task was given back", new UnknownTaskError(message));
  voice.say({ kind: "unknown-task", message: `a task was given back: ${message}` }, funcName);
}

/** Says that the store cannot be reached, or that it can again. */
export function tellStore(voice: Voice, lost: boolean, error: unknown): void {
  const message = `the store can${lost ? "not be reached" : " be reached again"}`;
  warn(message, error);
  voice.say({ kind: "store", message, error }, String(lost));
}
