import { METHODS, settingsOf, type TaskConsoleOptions, writeLine } from "./line.js";

/**
 * Returns a console whose lines say which task they are written in, by `log`, `info`, `warn`, `error` and `debug`. It
 * writes to the global console, or to the given one, and its other methods are that one's. Outside a task a line is what
 * it was, byte for byte. Nothing of it throws but what the console itself throws.
 *
 * @throws TaskConfigError for an unknown option, or one of another kind.
 */
export function taskConsole(options: TaskConsoleOptions = {}): Console {
  const { target, state, label } = settingsOf("taskConsole()", options);
  const own: Console = Object.create(target);
  for (const method of METHODS) {
    // looked up at each line, since others may patch it
    const write = (args: readonly unknown[]): void => target[method](...args);
    const methods = { [method]: (...args: readonly unknown[]) => writeLine(state, label, { method, args, write }) };
    Object.defineProperty(own, method, {
      value: methods[method],
      writable: true,
      configurable: true,
      enumerable: true,
    });
  }
  return own;
}
