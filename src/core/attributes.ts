import type { Attributes } from "@opentelemetry/api";
import type { TaskOrigin } from "./carrier.js";
import {
  ATTR_MESSAGING_DESTINATION_NAME,
  ATTR_MESSAGING_MESSAGE_ID,
  ATTR_MESSAGING_OPERATION_NAME,
  ATTR_MESSAGING_OPERATION_TYPE,
  ATTR_MESSAGING_SYSTEM,
  ATTR_TASK_ATTEMPT,
  ATTR_TASK_ENGINE,
  ATTR_TASK_ID,
  ATTR_TASK_NAME,
  ATTR_TASK_PARENT_ID,
  TASK_TAG_PREFIX,
} from "./semconv.js";
import { cut } from "./text.js";
import type { TaskContext, TaskTags } from "./types.js";

/** Most characters of a tag on a span or a log record; the task itself sees all of them. */
const MAX_TAG = 256;
/** Most tag keys whose attributes' names are kept: to write one down again takes five times as long. */
const MAX_NAMES = 1_000;
const tagNames = new Map<string, string>();

/** Where a broker's server is. */
export interface BrokerServer {
  readonly address: string;
  readonly port?: number | undefined;
}

/** The way of a task: an engine, and behind it possibly a real broker. */
export interface TaskRoute {
  /** Value of `task.engine`. */
  readonly engine: string | undefined;
  /** The broker's `messaging.system`; `undefined` where there is none. */
  readonly system: string | undefined;
  /** The queue's name. */
  readonly destination: string | undefined;
  readonly server?: BrokerServer | undefined;
}

/** The facts that the enqueue span and every attempt span of a task have in common. */
export type TaskIdentity = Pick<TaskOrigin, "id" | "name" | "tags" | "parentId">;

/** Makes the attributes of an enqueue span, and those of an attempt's span that every attempt of its task shares. */
export function taskAttributes(
  task: TaskIdentity,
  route: TaskRoute,
  operation: string,
  operationType: string,
): Attributes {
  const attributes = identityAttributes(task.id, task.name, task.tags);
  if (route.engine !== undefined) attributes[ATTR_TASK_ENGINE] = route.engine;
  if (task.parentId !== undefined) attributes[ATTR_TASK_PARENT_ID] = task.parentId;
  if (route.system !== undefined) {
    attributes[ATTR_MESSAGING_SYSTEM] = route.system;
    attributes[ATTR_MESSAGING_OPERATION_NAME] = operation;
    attributes[ATTR_MESSAGING_OPERATION_TYPE] = operationType;
    attributes[ATTR_MESSAGING_MESSAGE_ID] = task.id;
    if (route.destination !== undefined) attributes[ATTR_MESSAGING_DESTINATION_NAME] = route.destination;
  }
  return attributes;
}

/** Makes the attributes that an id assigned by the broker adds, once it is known. */
export function assignedIdAttributes(id: string, route: TaskRoute): Attributes {
  return route.system === undefined ? { [ATTR_TASK_ID]: id } : { [ATTR_TASK_ID]: id, [ATTR_MESSAGING_MESSAGE_ID]: id };
}

/** Makes a log record's attributes of a task, where no attempt of it runs. */
export function identityAttributes(id: string, name: string, tags: TaskTags): Attributes {
  const attributes: Attributes = { [ATTR_TASK_ID]: id, [ATTR_TASK_NAME]: name };
  for (const key of Object.keys(tags)) attributes[tagName(key)] = cut(tags[key] ?? "", MAX_TAG);
  return attributes;
}

function tagName(key: string): string {
  const known = tagNames.get(key);
  if (known !== undefined) return known;
  const name = TASK_TAG_PREFIX + key;
  if (tagNames.size < MAX_NAMES) tagNames.set(key, name);
  return name;
}

/** Makes the attributes of a running task that every span and log record within it may carry. */
export function contextAttributes({ taskId, funcName, attempt, tags }: TaskContext): Attributes {
  const attributes = identityAttributes(taskId, funcName, tags);
  attributes[ATTR_TASK_ATTEMPT] = attempt;
  return attributes;
}
