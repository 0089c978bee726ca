// When a process could reach its store: the times without a fault of the server or its connections.
import { FAULTS, type FaultName } from "./faults.js";
import type { ProcessHistory } from "./history.js";
import { type Noted, ofKind } from "./journal.js";

interface Span {
  readonly from: number;
  readonly to: number;
}

/** An end that could be stored for so long is stored, on a busy machine too. */
const ENOUGH_MS = 10_000;
/** A client that lost its server looks for it less and less often. */
const MOST_RECOVERY_MS = 20_000;
const LEAST_RECOVERY_MS = 1_000;

export type CouldStore = (process: ProcessHistory, from: number, to: number) => boolean;

/** Says whether a process that lived and was left alone had the time to store what it knew at `from`, until `to`. */
export function couldStoreIn(entries: readonly Noted[]): CouldStore {
  const outages = outagesOf(entries);
  return ({ hitAt, goneAt }, from, to) => {
    return longestOutside(outages, { from, to: Math.min(to, hitAt, goneAt) }) >= ENOUGH_MS;
  };
}

function outagesOf(entries: readonly Noted[]): Span[] {
  const faults = ofKind(entries, "fault").filter(({ fault }) => FAULTS[fault as FaultName].ofStore);
  return faults.flatMap(({ over, fault, at }, index) => {
    if (over) return [];
    const end = faults.slice(index).find((one) => one.over && one.fault === fault)?.at ?? Number.POSITIVE_INFINITY;
    return [{ from: at, to: end + Math.min(MOST_RECOVERY_MS, Math.max(LEAST_RECOVERY_MS, end - at)) }];
  });
}

function longestOutside(outages: readonly Span[], { from, to }: Span): number {
  let longest = 0;
  let free = from;
  for (const outage of outages) {
    if (outage.to <= free) continue;
    if (outage.from >= to) break;
    longest = Math.max(longest, outage.from - free);
    free = outage.to;
  }
  return Math.max(longest, to - free);
}
