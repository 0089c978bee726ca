import { safely } from "../core/guard.js";
import { taskLogFields } from "../core/log.js";

type LogFields = Readonly<Record<string, unknown>>;

/** What would end a line, or move a terminal's cursor. */
const CONTROLS = /[\p{Cc}\u2028\u2029]+/gu;
/** What would end a value, or the prefix. */
const ENDS = /[\s"=[\]]/;

/**
 * Returns what a line of text may begin with to say which task it is from, such as
 * `[chargeCard task_attempt=1 task_id=35d9… trace_id=4fd1…]`; an empty string outside a task. It is for loggers that
 * write text. `fields` are others to say: `task_name` stands without its key, objects are left out. Never throws.
 */
export function taskLogPrefix(fields?: LogFields): string {
  return safely("taskLogPrefix", () => prefixOf(fields ?? textFields()), "");
}

// Those that a reader looks for. A span's id and the tags would fill the line.
function textFields(): LogFields {
  const { task_name, task_attempt, task_id, trace_id } = taskLogFields();
  return task_id === undefined ? {} : { task_name, task_attempt, task_id, trace_id };
}

function prefixOf({ task_name: name, ...others }: LogFields): string {
  const pairs = Object.entries(others).flatMap(([key, value]) => {
    const text = textOf(value);
    return text === undefined ? [] : `${key}=${text}`;
  });
  const parts = [textOf(name) ?? [], ...pairs].flat();
  return parts.length === 0 ? "" : `[${parts.join(" ")}]`;
}

// Names and ids may come from a store that others write to.
function textOf(value: unknown): string | undefined {
  if (value === undefined || value === null || typeof value === "object" || typeof value === "function")
    return undefined;
  const text = String(value).replace(CONTROLS, " ");
  return text === "" || ENDS.test(text) ? JSON.stringify(text) : text;
}
