import { Console } from "node:console";
import { Writable } from "node:stream";

/** A console of its own, and all that was written to it. */
export interface RecordedConsole {
  readonly console: Console;
  /** What came out, whole. */
  text(): string;
  /** The same of `console.warn` and `console.error` alone. */
  errorText(): string;
  lines(): string[];
}

export function recordedConsole(colorMode = false): RecordedConsole {
  const all: string[] = [];
  const errors: string[] = [];
  const streamTo = (...sinks: string[][]): Writable =>
    new Writable({
      write(chunk, _encoding, done) {
        for (const sink of sinks) sink.push(String(chunk));
        done();
      },
    });
  const text = (): string => all.join("");
  return {
    console: new Console({ stdout: streamTo(all), stderr: streamTo(all, errors), colorMode }),
    text,
    errorText: () => errors.join(""),
    lines: () => text().trimEnd().split("\n"),
  };
}
