import { type Attributes, type AttributeValue, SpanKind } from "@opentelemetry/api";
import type { Group, Registry } from "./registry.js";

/** What is looked at of a span. */
export interface CheckedSpan {
  readonly name: string;
  readonly kind: SpanKind;
  readonly attributes: Attributes;
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
export function adviseSpan(registry: Registry, { name, kind, attributes }: CheckedSpan): string[] {
  const [operation = ""] = name.split(" ");
  const group = registry.groups.find(({ id }) => id === SPANS[operation]);
  if (group === undefined) return [`the span "${name}" is not registered`];
  const wrong =
    SpanKind[kind].toLowerCase() === group.span_kind ? [] : [`the span "${name}" is of kind ${SpanKind[kind]}`];
  return [...wrong, ...adviseAttributes(registry, group, attributes)];
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

function adviseAttributes(registry: Registry, group: Group, attributes: Readonly<Record<string, unknown>>): string[] {
  const known = registry.attributesOf(group);
  const missing = [...known].filter(([name, level]) => level === "required" && attributes[name] === undefined);
  const wrong = Object.entries(attributes).flatMap(([key, value]) => {
    const name = nameIn(registry, key);
    if (!known.has(name)) return [`${group.id} has ${key}, which is not registered for it`];
    return isOf(registry.attributes.get(name), value)
      ? []
      : [`${group.id} has ${key} of another type: ${typeof value}`];
  });
  return [...missing.map(([name]) => `${group.id} lacks ${name}, which is required`), ...wrong];
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
