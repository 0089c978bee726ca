import { warn } from "../core/guard.js";
import { type ConsoleState, METHODS, settingsOf, type TaskConsoleOptions, writeLine } from "./line.js";

/**
 * Has each line of the global console, or of the given one, say which task it is written in: those of `console.log`,
 * `info`, `warn`, `error` and `debug`, and of what Node writes by these, such as `trace` and `table`. Outside a task a
 * line is what it was, byte for byte. A line names its task once, however often this is called; the last call decides
 * how. Nothing of it throws but what the console itself throws.
 *
 * @returns a function that undoes this call. Once all are undone the methods are what they were.
 * @throws TaskConfigError for an unknown option, or one of another kind.
 */
export function patchConsole(options: TaskConsoleOptions = {}): () => void {
  const { target, state, label } = settingsOf("patchConsole()", options);
  const { labels, restores } = state;
  labels.push(label);
  if (labels.length === 1) restores.push(...METHODS.map((method) => wrap(target, method, state)));
  return () => {
    const index = labels.indexOf(label);
    if (index === -1) return;
    labels.splice(index, 1);
    if (labels.length === 0) for (const restore of restores.splice(0)) restore();
  };
}

function wrap(target: Console, method: (typeof METHODS)[number], state: ConsoleState): () => void {
  const own = Object.getOwnPropertyDescriptor(target, method);
  const original = target[method];
  const write = (args: readonly unknown[]): void => original.apply(target, [...args]);
  const wrappers = {
    [method]: (...args: readonly unknown[]) => writeLine(state, state.labels.at(-1), { method, args, write }),
  };
  const wrapper = wrappers[method];
  const enumerable = own?.enumerable ?? true;
  const isPatched = Reflect.defineProperty(target, method, {
    ...{ value: wrapper, writable: true, configurable: true, enumerable },
  });
  if (!isPatched) warn(`the console will not have its ${method} replaced`);
  return () => {
    // another wrapper may stand around this one, which then calls the original
    if (target[method] !== wrapper) return;
    if (own === undefined) Reflect.deleteProperty(target, method);
    else Reflect.defineProperty(target, method, own);
  };
}
