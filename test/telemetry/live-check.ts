import { type Attributes, type AttributeValue, type Link, SpanKind } from "@opentelemetry/api";
import type { Group, Registry } from "./registry.js";

/** What is looked at of a span. */
export interface CheckedSpan {
  readonly name: string;
  readonly kind: SpanKind;
  readonly attributes: Attributes;
  readonly links?: readonly Pick<Link, "attributes">[];
  readonly events?: readonly CheckedEvent[];
}

/** What is looked at of a span's event. */
interface CheckedEvent {
  readonly name: string;
  readonly attributes?: Attributes | undefined;
}

/** What is looked at of a measurement, and of the instrument that made it. */
export interface CheckedMeasurement {
  readonly name: string;
  readonly instrument: string;
  readonly unit: string | undefined;
  readonly attributes: Attributes;
}

/** What is looked at of a log record. */
export interface CheckedRecord {
  readonly eventName?: string | undefined;
  readonly attributes: Readonly<Record<string, unknown>>;
}

const SPANS: Readonly<Record<string, string>> = {
  enqueue: "span.task.enqueue",
  process: "span.task.process",
  continue: "span.task.continue",
  batch: "span.task.batch",
};
const TEMPLATE = "template[string]";

/** Says what is wrong with a span of this library, by the registry; nothing where all is right. */
export function adviseSpan(registry: Registry, span: CheckedSpan): string[] {
  const { name, kind, attributes, links = [], events = [] } = span;
  const [operation = ""] = name.split(" ");
  const group = registry.groups.find(({ id }) => id === SPANS[operation]);
  if (group === undefined) return [`the span "${name}" is not registered`];
  const wrong =
    SpanKind[kind].toLowerCase() === group.span_kind ? [] : [`the span "${name}" is of kind ${SpanKind[kind]}`];
  return [
    ...wrong,
    ...adviseAttributes(registry, group, attributes),
    ...links.flatMap((link) => adviseValues(registry, `a link of ${group.id}`, link.attributes ?? {})),
    ...events.flatMap((event) => adviseEvent(registry, group, event)),
  ];
}

/** Says what is wrong with a measurement. */
export function adviseMeasurement(
  registry: Registry,
  { name, instrument, unit, attributes }: CheckedMeasurement,
): string[] {
  const group = registry.groups.find(({ metric_name: metric }) => metric === name);
  if (group === undefined) return [`the metric ${name} is not registered`];
  return [
    ...(instrument === group.instrument ? [] : [`the metric ${name} is a ${instrument}`]),
    ...(unit === group.unit ? [] : [`the metric ${name} has the unit ${unit}`]),
    ...adviseAttributes(registry, group, attributes),
  ];
}

/** Says what is wrong with a log record that has an event name; a line's fields are its user's. */
export function adviseRecord(registry: Registry, { eventName, attributes }: CheckedRecord): string[] {
  if (eventName === undefined) return [];
  const group = registry.groups.find(({ type, name }) => type === "event" && name === eventName);
  if (group === undefined) return [`the event ${eventName} is not registered`];
  return adviseAttributes(registry, group, attributes);
}

// A line, or an event of a name of its user's own, may have any fields beside those that are this library's.
function adviseEvent(registry: Registry, { id }: Group, { name, attributes = {} }: CheckedEvent): string[] {
  const exception = registry.groups.find(({ type, name: event }) => type === "event" && event === name);
  if (exception !== undefined && !("task.log.level" in attributes))
    return adviseAttributes(registry, exception, attributes);
  const own = Object.entries(attributes).filter(([key]) => key.startsWith("task."));
  return adviseValues(registry, `an event of ${id}`, Object.fromEntries(own));
}

function adviseValues(registry: Registry, where: string, attributes: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(attributes).flatMap(([key, value]) => {
    const type = registry.attributes.get(nameIn(registry, key));
    if (type === undefined) return [`${where} has ${key}, which is not registered`];
    return isOf(type, value) ? [] : [`${where} has ${key} of another type: ${typeof value}`];
  });
}

function adviseAttributes(registry: Registry, group: Group, attributes: Readonly<Record<string, unknown>>): string[] {
  const known = registry.attributesOf(group);
  const isKnown = ([key]: [string, unknown]): boolean => known.has(nameIn(registry, key));
  const missing = [...known].filter(([name, level]) => level === "required" && attributes[name] === undefined);
  const entries = Object.entries(attributes);
  return [
    ...missing.map(([name]) => `${group.id} lacks ${name}, which is required`),
    ...entries
      .filter((entry) => !isKnown(entry))
      .map(([key]) => `${group.id} has ${key}, which is not registered for it`),
    ...adviseValues(registry, group.id, Object.fromEntries(entries.filter(isKnown))),
  ];
}

// `task.tag.plan` is one of `task.tag`
function nameIn({ attributes }: Registry, key: string): string {
  const isTemplate = ([name, type]: [string, unknown]): boolean => type === TEMPLATE && key.startsWith(`${name}.`);
  return [...attributes].find(isTemplate)?.[0] ?? key;
}

function isOf(type: string | readonly string[] | undefined, value: unknown): boolean {
  if (Array.isArray(type)) return type.includes(value as AttributeValue & string);
  switch (type) {
    case "int":
      return Number.isInteger(value);
    case "double":
      return typeof value === "number";
    case "boolean":
      return typeof value === "boolean";
    case "string":
    case TEMPLATE:
      return typeof value === "string";
    default:
      return false;
  }
}
