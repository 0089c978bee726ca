import { format as formatted } from "node:util";
import { checkFunction, checkKeys, checkMethods, namesOf, show } from "../core/checks.js";
import { TaskConfigError } from "../core/errors.js";
import { safely } from "../core/guard.js";
import { getTaskContext } from "../core/live-attempt.js";
import { taskLogFields } from "../core/log.js";
import { taskLogPrefix } from "./prefix.js";

/** How the lines of a console that are written in a task look. */
export interface TaskConsoleOptions {
  /**
   * `text`: the line as it was, behind what `taskLogPrefix` says. `json`: an object a line, with `time`, `level`,
   * `message` (the line as it was) and the fields. Default `text`.
   */
  format?: "text" | "json" | undefined;
  /**
   * What a line says of its task, asked while it is written in one. A field of the names `time`, `level` or `message`
   * replaces that. Default: for `text` what `taskLogPrefix` says, for `json` `taskLogFields`.
   */
  fields?: (() => Record<string, unknown>) | undefined;
  /** The console that is written to. Default: the global one. */
  console?: Console | undefined;
}

/** The methods that write lines. Others of a console, such as `table` and `group`, write by these. */
export const METHODS = ["debug", "error", "info", "log", "warn"] as const;

type Method = (typeof METHODS)[number];
type Arguments = readonly unknown[];

/** Makes of a method's arguments those with which the line names its task. */
export type Label = (method: Method, args: Arguments) => Arguments;

/** What all who write to a console know of each other. */
export interface ConsoleState {
  /** A line is being written: what is written meanwhile is a part of it, or is told about it. */
  writing: boolean;
  /** Of those who patched the console and have not undone it, in order. */
  readonly labels: Label[];
  /** Puts each method back. */
  readonly restores: (() => void)[];
}

/** {@link TaskConsoleOptions}, checked. */
export interface ConsoleSettings {
  readonly target: Console;
  readonly state: ConsoleState;
  readonly label: Label;
}

const OPTIONS = namesOf<TaskConsoleOptions>({ format: true, fields: true, console: true });
/** Leads from a console to its state. All copies of this package know it, so that a line names its task once. */
const STATE = Symbol.for("otel-taskflow.console.1");
/** The first character of what `console.table` writes, whose frame stands on lines of its own. */
const FRAME = "┌";

/** @throws TaskConfigError for an unknown option, or one of another kind. */
export function settingsOf(call: string, options: TaskConsoleOptions): ConsoleSettings {
  checkKeys(call, options, OPTIONS);
  const { format = "text", fields, console: target = console } = options;
  if (fields !== undefined) checkFunction("fields", fields);
  checkMethods("console", "an object with the methods of a console", target, METHODS);
  if (format !== "text" && format !== "json") {
    throw new TaskConfigError(`format: expected "text" or "json", received ${show(format)}`);
  }
  return { target, state: stateOf(target), label: format === "json" ? jsonLabel(fields) : textLabel(fields) };
}

/** Writes a line: with its task in one, as it is outside, and where it is part of another line. Throws what `write` throws. */
export function writeLine(
  state: ConsoleState,
  label: Label | undefined,
  { method, args, write }: { method: Method; args: Arguments; write: (args: Arguments) => void },
): void {
  if (label === undefined || state.writing || getTaskContext() === undefined) {
    write(args);
    return;
  }
  state.writing = true;
  try {
    write(safely("naming the task of a line", () => label(method, args), args));
  } finally {
    state.writing = false;
  }
}

function stateOf(target: Console): ConsoleState {
  // nobody else writes under this symbol
  const found = Object.getOwnPropertyDescriptor(target, STATE)?.value as ConsoleState | undefined;
  if (found !== undefined) return found;
  const state: ConsoleState = { writing: false, labels: [], restores: [] };
  Reflect.defineProperty(target, STATE, { value: state });
  return state;
}

// A text alone is no format. In one that has values, a "%" of the prefix stands for itself where it is doubled.
function textLabel(fields: TaskConsoleOptions["fields"]): Label {
  return (_method, args) => {
    const prefix = taskLogPrefix(fields?.());
    const [first, ...others] = args;
    if (prefix === "" || args.length === 0) return args;
    if (typeof first === "string" && others.length === 0)
      return [prefix + (first.startsWith(FRAME) ? "\n" : " ") + first];
    const literal = prefix.replaceAll("%", "%%");
    return typeof first === "string" ? [`${literal} ${first}`, ...others] : [literal, ...args];
  };
}

function jsonLabel(fields: () => Record<string, unknown> = taskLogFields): Label {
  return (method, args) => {
    const level = method === "log" ? "info" : method;
    const line = { time: new Date().toISOString(), level, message: formatted(...args), ...fields() };
    return [JSON.stringify(line)];
  };
}
