import type { TaskRoute } from "../core/attributes.js";
import { inject } from "../core/carrier.js";
import { checkFunction, checkObject, checkOptional, checkRelation, checkText } from "../core/checks.js";
import { type EnqueueOptions, enqueue, guarded, requestOf } from "../core/enqueue.js";
import { TaskConfigError } from "../core/errors.js";
import { splitProducerOptions } from "../core/info-keys.js";
import { shared } from "../core/slot.js";
import { type Telemetry, telemetryOf } from "../core/telemetry.js";
import type { ProducerOptions } from "../core/types.js";
import { fieldsOf, wireCount } from "../core/wire.js";
import { wishedTelemetry } from "../core/wished-telemetry.js";
import { GRAPHILE_WORKER, type GraphileJobSpec } from "../engines/graphile-worker/library.js";
import { withCarrier } from "../engines/graphile-worker/stored-task.js";
import { BY_HAND, type Door, isTaskName, type JobView, telemetryAt } from "./door.js";

/** graphile-worker's `WorkerUtils`, `JobHelpers` or `Runner`, or anything else that adds jobs. */
export interface GraphileJobAdder<J> {
  addJob(identifier: string, payload: unknown, spec?: GraphileJobSpec): Promise<J>;
}

/** A job as graphile-worker's `addJobs` takes it. */
export interface GraphileBulkSpec extends GraphileJobSpec {
  readonly identifier: string;
  readonly payload: unknown;
}

/** graphile-worker's `WorkerUtils` or `JobHelpers`, or anything else that adds many jobs at once. */
export interface GraphileJobsAdder<J> {
  addJobs(specs: GraphileBulkSpec[], jobKeyPreserveRunAt?: boolean): Promise<J[]>;
}

/** What a job can be told besides graphile-worker's own `TaskSpec`. */
export type GraphileJobOptions = ProducerOptions;

/** A job about to be added. */
interface Addition {
  readonly identifier: string;
  readonly payload: unknown;
  /** graphile-worker's own, which the carrier's flag will join. */
  readonly spec: GraphileJobSpec;
  readonly own: ProducerOptions;
}

const ROUTE: TaskRoute = { engine: GRAPHILE_WORKER, system: GRAPHILE_WORKER, destination: undefined };

const NO_WISHES: ProducerOptions = Object.freeze({});

/** What is heard of a job that was added. */
const TOLD: EnqueueOptions<unknown> = guarded({ idOf, isStored });

/** The flags of jobs that any copy of this package just adds: whoever adds such a job is inside of another wrapper. */
const fresh = shared("graphile-fresh.1", () => new Set<string>());

/**
 * `utils.addJob` with tags: it runs within an enqueue span, and the job gets a carrier as one of its flags, while the
 * payload stays as it is. Resolves and rejects as `utils.addJob` does. `task.id` is the job's id. A job that took the
 * place of one with its key is not counted, nor is one that graphile-worker did not store because one with its key was
 * just starting: all columns of what it returns are null then (https://github.com/graphile/worker/issues/580, up to
 * 0.18). Works without an SDK.
 *
 * @throws TaskConfigError for an illegal tag or option; nothing was added.
 */
export async function addJob<J>(
  utils: GraphileJobAdder<J>,
  identifier: string,
  payload: unknown,
  spec: GraphileJobSpec & GraphileJobOptions = {},
): Promise<J> {
  checkObject("addJob(): its first argument", utils);
  checkFunction("addJob(): the addJob of its first argument", utils.addJob);
  checkObject("addJob(): its spec", spec);
  return await addThrough(BY_HAND, identifier, payload, spec, (carried) => utils.addJob(identifier, payload, carried));
}

/**
 * `utils.addJobs` with tags: one call, with an enqueue span and a carrier for each job. Resolves to what `addJobs` does;
 * where it rejects, all these spans have failed.
 *
 * @throws TaskConfigError for an illegal tag or option of any job; nothing was added.
 */
export async function addJobs<J>(
  utils: GraphileJobsAdder<J>,
  specs: readonly (GraphileBulkSpec & GraphileJobOptions)[],
  jobKeyPreserveRunAt?: boolean,
): Promise<J[]> {
  checkObject("addJobs(): its first argument", utils);
  checkFunction("addJobs(): the addJobs of its first argument", utils.addJobs);
  return await addAllThrough(BY_HAND, specs, (carried) => utils.addJobs(carried, jobKeyPreserveRunAt));
}

/** {@link addJob} by the settings of a door; `add` is graphile-worker's own. */
export async function addThrough<J>(
  door: Door,
  identifier: string,
  payload: unknown,
  spec: GraphileJobSpec & GraphileJobOptions,
  add: (spec: GraphileJobSpec) => Promise<J>,
): Promise<J> {
  const addition = additionOf(door, identifier, payload, spec);
  return isLeft(door, addition) ? await add(spec) : await enqueueOne(door, addition, add);
}

/** {@link addJobs} by the settings of a door; `addAll` is graphile-worker's own. */
export async function addAllThrough<J>(
  door: Door,
  specs: readonly (GraphileBulkSpec & GraphileJobOptions)[],
  addAll: (specs: GraphileBulkSpec[]) => Promise<J[]>,
): Promise<J[]> {
  const carried: GraphileBulkSpec[] = [];
  let begin: (stored: Promise<J[]>) => void = () => {};
  const stored = new Promise<J[]>((resolve) => {
    begin = resolve;
  });
  const adding = specs.map(async ({ identifier, payload, ...spec }, index) => {
    const addition = additionOf(door, identifier, payload, spec);
    const add = async (own: GraphileJobSpec): Promise<J | undefined> => {
      carried[index] = { ...own, identifier, payload };
      return (await stored)[index];
    };
    return isLeft(door, addition) ? await add(spec) : await enqueueOne(door, addition, add);
  });
  // each job that is not refused has joined by now, within the caller's turn
  const isWhole = specs.every((_, index) => carried[index] !== undefined);
  begin(isWhole ? addAll(carried) : Promise.reject(new TaskConfigError("addJobs(): another of the jobs was refused")));
  await Promise.all(adding);
  return await stored;
}

// Only a call by hand has wishes of its own; what a door passes on stays as it is.
function additionOf(
  door: Door,
  identifier: string,
  payload: unknown,
  given: GraphileJobSpec & GraphileJobOptions,
): Addition {
  const [own, spec] = door === BY_HAND ? splitProducerOptions(given) : [NO_WISHES, given];
  return { identifier, payload, spec, own };
}

// It has passed through another wrapper, or the door's owner wants no task of it, or it can be none: its name cannot be
// a task's, or what it has for flags is for graphile-worker to refuse.
function isLeft(door: Door, { identifier, payload, spec }: Addition): boolean {
  const flags: unknown = spec.flags ?? [];
  const isList = Array.isArray(flags) && flags.every((flag) => typeof flag === "string");
  if (isList && flags.some((flag) => fresh.has(flag))) return true;
  if (door === BY_HAND) return false;
  return !isList || !isTaskName(identifier) || door.ignore?.(viewOf(identifier, payload)) === true;
}

async function enqueueOne<J>(
  door: Door,
  { identifier, payload, spec, own }: Addition,
  add: (spec: GraphileJobSpec) => Promise<J>,
): Promise<J> {
  const view = viewOf(identifier, payload);
  const request = requestOf({ tags: own.tags ?? door.tags?.(view), delay: delayUntil(spec.runAt) });
  const settings = {
    name: checkText("funcName", identifier),
    maxAttempts: door === BY_HAND ? checkMaxAttempts(spec) : wireCount(spec.maxAttempts) || undefined,
    relation: checkRelation(own.relation ?? door.relation?.(view) ?? "parent"),
    route: ROUTE,
    telemetry: telemetryFor(door, view, own),
  };
  return await enqueue(request, settings, (origin) => freshly(withCarrier(spec, inject(origin)), add), TOLD);
}

// A door refuses nothing: what is odd about a job is for graphile-worker to judge.
function checkMaxAttempts({ maxAttempts }: GraphileJobSpec): number | undefined {
  return checkOptional("maxAttempts", maxAttempts, { min: 1, integer: true });
}

function telemetryFor(door: Door, view: JobView, own: ProducerOptions): Telemetry {
  const asked = door === BY_HAND ? telemetryOf(own) : telemetryAt(door);
  return wishedTelemetry(asked, { label: door.name?.(view) });
}

async function freshly<J>(
  spec: GraphileJobSpec & { flags: string[] },
  add: (spec: GraphileJobSpec) => Promise<J>,
): Promise<J> {
  const [flag = ""] = spec.flags.slice(-1);
  fresh.add(flag);
  try {
    return await add(spec);
  } finally {
    fresh.delete(flag);
  }
}

function viewOf(name: string, data: unknown): JobView {
  return { library: GRAPHILE_WORKER, queue: name, name, id: undefined, data, attempt: 0 };
}

// What is no date is for graphile-worker to refuse.
function delayUntil(runAt: Date | undefined): number {
  return runAt instanceof Date ? Math.max(0, runAt.getTime() - Date.now()) || 0 : 0;
}

// Whatever stands in for graphile-worker's utils may return anything.
function idOf(job: unknown): string | undefined {
  const { id } = fieldsOf(job);
  return id === undefined || id === null ? undefined : String(id);
}

function isStored(job: unknown): boolean {
  const { id, revision } = fieldsOf(job);
  return id !== null && !revision;
}
