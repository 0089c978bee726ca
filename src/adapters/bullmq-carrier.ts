import { ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { extract, isOwnCarrier } from "../core/carrier.js";
import { safely } from "../core/guard.js";
import { SCOPE_NAME } from "../core/semconv.js";
import type { Carrier } from "../core/types.js";
import { fieldsOf } from "../core/wire.js";
import { type BullmqJob, carrierIn } from "../engines/bullmq/stored-task.js";

/** Longest `telemetry.metadata` that is read. */
const MAX_METADATA = 131_072;

/** The part of a job that holds its carrier. */
type CarryingJob = Pick<BullmqJob, "opts">;

/**
 * The carrier of a job, as its attempt would read it: for a job that was fetched by `getNextJob`, to give to
 * `runAttempt`. It is this library's own, or else what bullmq-otel or another tracing put into the job's options:
 * `telemetry.metadata`, or `traceparent`. `undefined` for a job without one, empty for one that is damaged. Never throws.
 */
export function carrierOf(job: { readonly opts?: object | undefined }): Carrier | undefined {
  // whatever else may be missing, the options are all that is read
  const read = (): CarryingJob => ({ opts: fieldsOf(fieldsOf(job).opts) });
  const found = safely("reading a job's carrier", () => findCarrier(read(), () => undefined));
  // its entries may be anything: whoever reads a carrier checks them
  return found === undefined ? undefined : (fieldsOf(found) as Carrier);
}

/** Does the same for an attempt, which reads anything; `ownOf` finds the carrier that a service keeps elsewhere. */
export function findCarrier(job: CarryingJob, ownOf: () => unknown): Carrier | undefined {
  const ours = carrierIn(job);
  if (isOwnCarrier(ours)) return ours;
  const { telemetry, traceparent, tracestate } = fieldsOf(job.opts);
  const others = [ownOf, () => metadataOf(fieldsOf(telemetry).metadata), () => headersOf(traceparent, tracestate)];
  for (const find of others) {
    const found = find();
    // what is read as a carrier may be anything
    if (isOwnCarrier(found) || isTraced(found)) return found as Carrier;
  }
  return ours;
}

// BullMQ's own telemetry keeps here what was injected where the job was added. Tags are in our carriers alone.
function metadataOf(metadata: unknown): unknown {
  if (typeof metadata !== "string" || metadata.length > MAX_METADATA) return undefined;
  const all = safely("reading a job's telemetry.metadata", () => fieldsOf(JSON.parse(metadata)), {});
  const { [SCOPE_NAME]: _ours, ...injected } = all;
  return injected;
}

function headersOf(traceparent: unknown, tracestate: unknown): unknown {
  if (typeof traceparent !== "string") return undefined;
  return typeof tracestate === "string" ? { traceparent, tracestate } : { traceparent };
}

function isTraced(carrier: unknown): boolean {
  if (carrier === undefined) return false;
  return trace.getSpanContext(extract(carrier, ROOT_CONTEXT).context) !== undefined;
}
