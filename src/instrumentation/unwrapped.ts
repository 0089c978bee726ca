import { writeSync } from "node:fs";
import { safely, warn } from "../core/guard.js";
import { SCOPE_NAME } from "../core/semconv.js";
import { registeredApi, shared } from "../core/slot.js";

/** Milliseconds in which an application may still wrap a library by itself. */
const WRAPPED_WITHIN_MS = 5_000;

/** The libraries that an application has wrapped by itself. The copy in a bundle is another than the instrumentation's. */
const wrapped = shared("wrapped.1", () => new Set<string>());

/** Notes for all copies of this package that an application has wrapped a library by itself. */
export function noteWrapped(library: string): void {
  wrapped.add(library);
}

/** What is to be said of a library. */
export interface Notice {
  readonly library: string;
  readonly text: string;
}

/** Says what `look` finds then, soon or when the process ends, but of libraries that the application has wrapped. */
export function tellUnlessWrapped(look: () => readonly Notice[]): void {
  const tell = (): void => {
    clearTimeout(timer);
    process.off("exit", tell);
    const notices = safely("looking for libraries that are not wrapped", look) ?? [];
    for (const { library, text } of notices) if (!wrapped.has(library)) say(text);
  };
  const timer = setTimeout(tell, WRAPPED_WITHIN_MS).unref();
  process.on("exit", tell);
}

// Not process.stderr: a pipe that was closed at its other end would end the process.
function say(notice: string): void {
  if (registeredApi()?.diag !== undefined) warn(notice);
  else safely("writing to stderr", () => writeSync(2, `${SCOPE_NAME}: ${notice}\n`));
}
