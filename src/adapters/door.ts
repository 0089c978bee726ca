import {
  checkBoolean,
  checkFunction,
  checkKeys,
  checkObject,
  checkRelation,
  checkText,
  MAX_TEXT,
  namesOf,
  show,
} from "../core/checks.js";
import { TaskConfigError } from "../core/errors.js";
import { warn } from "../core/guard.js";
import { splitTelemetryOptions, TELEMETRY_KEYS } from "../core/info-keys.js";
import { copyTags } from "../core/tags.js";
import { createTelemetry, type Telemetry, telemetryOf } from "../core/telemetry.js";
import { isStorable } from "../core/text.js";
import { isThenable } from "../core/thenable.js";
import type { Carrier, GivenTags, TaskRelation, TaskTags, TaskTelemetryOptions } from "../core/types.js";

/** A library's job, as the functions of {@link DoorOptions} see it. */
export interface JobView {
  readonly library: "bullmq" | "pg-boss" | "graphile-worker";
  readonly queue: string;
  readonly name: string;
  /** `undefined` where the job is about to be added without an id of its own. */
  readonly id: string | undefined;
  readonly data: unknown;
  /** Zero-based; 0 where the job is about to be added. */
  readonly attempt: number;
}

/**
 * The settings by which a library's jobs become tasks where no call site says anything. Each function has to answer at
 * once. The first answer that is none (an error, a promise, a value out of range) is told to diag, and each such answer
 * counts as `undefined`.
 */
export interface DoorOptions extends TaskTelemetryOptions {
  /** The label of a job's spans and metrics, 1 to 512 characters; few different ones. Default: the job's own name. */
  readonly name?: ((job: JobView) => string | undefined) | undefined;
  /** The tags of a job: see `GivenTags`. Asked where it is added, and on arrival if it has no carrier. Default: none. */
  readonly tags?: ((job: JobView) => GivenTags | undefined) | undefined;
  /** Says which jobs are left alone: no carrier, no span, no task. Default: none of them. */
  readonly ignore?: ((job: JobView) => boolean) | undefined;
  /** The relation of the attempts' trace to the one that adds the job. Default `"parent"`. */
  readonly relation?: TaskRelation | ((job: JobView) => TaskRelation | undefined) | undefined;
  /** The carrier that a service keeps somewhere of its own, for a job without one of this library's. Default: none. */
  readonly carrier?: ((job: JobView) => Carrier | undefined) | undefined;
  /** The status of the span of an attempt that will be retried. Default `"error"`. */
  readonly retryStatus?: "error" | "unset" | undefined;
  /** Whether jobs get a carrier and an enqueue span where they are added. Default `true`. */
  readonly producer?: boolean | undefined;
}

/** {@link DoorOptions}, checked. None of its functions throws, and each answer is in range, or `undefined`. */
export interface Door {
  readonly telemetry: TaskTelemetryOptions;
  readonly name?: (job: JobView) => string | undefined;
  readonly tags?: (job: JobView) => TaskTags | undefined;
  readonly ignore?: (job: JobView) => boolean | undefined;
  readonly relation?: (job: JobView) => TaskRelation | undefined;
  readonly carrier?: (job: JobView) => Carrier | undefined;
  readonly retryStatus?: "error" | "unset";
  readonly producer?: boolean;
  /** Where a carrier goes that its library has no other place for. Default: nowhere. */
  readonly carrierIn?: "data";
}

/** The door of a call that says itself, by its options, what its job is. */
export const BY_HAND: Door = Object.freeze({ telemetry: Object.freeze({}) });

const FUNCTIONS = ["name", "tags", "ignore", "carrier"] as const;
const STATUSES: readonly unknown[] = ["error", "unset"];

/** The telemetry of each door. */
const telemetries = new WeakMap<TaskTelemetryOptions, Telemetry>();

const DOOR_KEYS: ReadonlySet<string> = namesOf<DoorOptions>({
  ...TELEMETRY_KEYS,
  name: true,
  tags: true,
  ignore: true,
  relation: true,
  carrier: true,
  retryStatus: true,
  producer: true,
});

/**
 * Checks the settings of `call`, and makes its functions safe to ask.
 *
 * @throws TaskConfigError for an unknown option, or one out of range.
 */
export function doorOf(call: string, options: DoorOptions): Door {
  checkKeys(call, options, DOOR_KEYS);
  for (const option of FUNCTIONS) if (options[option] !== undefined) checkFunction(option, options[option]);
  const [telemetry] = splitTelemetryOptions(options);
  createTelemetry(telemetry);
  const { name, tags, ignore, carrier, relation, retryStatus = "error", producer = true } = options;
  if (!STATUSES.includes(retryStatus)) {
    throw new TaskConfigError(`retryStatus: expected "error" or "unset", received ${show(retryStatus)}`);
  }
  checkBoolean("producer", producer);
  return Object.freeze({
    ...{ telemetry, retryStatus, producer },
    ...(name && { name: asked("name", name, (answer) => checkText("name", answer)) }),
    ...(tags && { tags: asked("tags", tags, (answer) => copyTags(answer)) }),
    ...(ignore && { ignore: asked("ignore", ignore, (answer) => checkBoolean("ignore", answer)) }),
    ...(carrier && { carrier: asked("carrier", carrier, checkCarrier) }),
    ...(relation !== undefined && { relation: relationOf(relation) }),
  });
}

/** Whether a library's own name, of a job or a queue, can be a task's: a door refuses none. */
export function isTaskName(name: unknown): name is string {
  return typeof name === "string" && name !== "" && name.length <= MAX_TEXT && isStorable(name);
}

/** The telemetry of a door's jobs, made once. */
export function telemetryAt({ telemetry }: Door): Telemetry {
  const made = telemetries.get(telemetry) ?? telemetryOf(telemetry);
  telemetries.set(telemetry, made);
  return made;
}

function relationOf(relation: NonNullable<DoorOptions["relation"]>): NonNullable<Door["relation"]> {
  if (typeof relation === "function") return asked("relation", relation, checkRelation);
  const checked = checkRelation(relation);
  return () => checked;
}

function asked<T>(
  option: string,
  ask: (job: JobView) => unknown,
  check: (answer: unknown) => T,
): (job: JobView) => T | undefined {
  let isTold = false;
  const tell = (error: unknown): undefined => {
    if (isTold) return;
    isTold = true;
    warn(`the option ${option} gave no answer for a job, and may do so again unsaid`, error);
  };
  return (job) => {
    try {
      const answer = ask(job);
      if (answer === undefined || answer === null) return undefined;
      if (!isThenable(answer)) return check(answer);
      Promise.resolve(answer).catch(() => {});
      return tell(new TaskConfigError(`${option}: expected an answer at once, received a promise`));
    } catch (error) {
      return tell(error);
    }
  };
}

function checkCarrier(value: unknown): Carrier {
  checkObject("carrier", value);
  // what is in it is read as anything that comes from a queue
  return value as Carrier;
}
