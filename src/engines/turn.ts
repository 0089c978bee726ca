import { setImmediate as nodeImmediate } from "node:timers";

// Kept from when this file was loaded: a mock of the timers changes the module's export too.
const real = nodeImmediate;

/**
 * Calls `fn` in a turn of the event loop of its own. Under a test's fake timers it may be called twice: the queue goes
 * on by itself, and also when the test moves its clock.
 */
export function inNextTurn(fn: () => void): void {
  real(fn);
  if (setImmediate !== real) setImmediate(fn);
}
