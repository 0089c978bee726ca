import { safely, warn } from "../../core/guard.js";
import type { Carrier } from "../../core/types.js";
import type { GraphileJob, GraphileJobSpec } from "./graphile.js";

/** What a flag that holds a carrier begins with; graphile-worker compares flags with `forbiddenFlags` as a whole. */
const PREFIX = "otel-taskflow:";

/**
 * Puts what `enqueueTask` hands to `send` among the flags of a job, for every way to add one besides `addJob`:
 * `addJobs`, `quickAddJob`, SQL. Takes the place of a carrier that was there.
 */
export function withCarrier<S extends Pick<GraphileJobSpec, "flags">>(
  spec: S,
  carrier: Carrier,
): S & { flags: string[] } {
  const others = (spec.flags ?? []).filter((flag) => !flag.startsWith(PREFIX));
  return { ...spec, flags: [...others, PREFIX + JSON.stringify(carrier)] };
}

/** The carrier among a job's flags; `undefined` where there is none, empty where it is damaged. Never throws. */
export function carrierIn(flags: GraphileJob["flags"]): Carrier | undefined {
  const flag = Object.keys(flags ?? {}).find((key) => key.startsWith(PREFIX));
  if (flag === undefined) return undefined;
  const carrier = safely("reading a job's flag", (): unknown => JSON.parse(flag.slice(PREFIX.length)), undefined);
  // what a carrier holds is checked where it is read
  if (typeof carrier === "object" && carrier !== null) return carrier as Carrier;
  warn("a job's flag holds no carrier; going on without it");
  return {};
}
