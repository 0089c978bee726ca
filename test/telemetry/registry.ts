import { readdirSync, readFileSync } from "node:fs";
import { parse } from "yaml";

/** The types of attributes that the registry takes from OpenTelemetry's conventions, 1.45, or the values that one has. */
const CONVENTIONS: Readonly<Record<string, string | readonly string[]>> = {
  "code.function.name": "string",
  "error.type": "string",
  "exception.message": "string",
  "exception.stacktrace": "string",
  "exception.type": "string",
  "messaging.destination.name": "string",
  "messaging.message.id": "string",
  "messaging.operation.name": "string",
  "messaging.operation.type": ["create", "send", "receive", "process", "settle"],
  "messaging.system": "string",
  "server.address": "string",
  "server.port": "int",
};

/** The conventions' own metrics that the registry imports: their units and attributes, as far as they are used. */
const MESSAGING = ["messaging.system", "messaging.operation.name"];
const IMPORTED: readonly Group[] = [
  messageMetric("messaging.client.sent.messages", "counter", "{message}", ["error.type"]),
  messageMetric("messaging.client.operation.duration", "histogram", "s", ["error.type", "messaging.operation.type"]),
  messageMetric("messaging.client.consumed.messages", "counter", "{message}", []),
  messageMetric("messaging.process.duration", "histogram", "s", ["error.type"]),
  exceptionEvent("exception"),
  exceptionEvent("messaging.process.exception"),
  exceptionEvent("messaging.send.exception"),
];

interface Member {
  readonly value: string;
}

/** An attribute as a file has it: a definition of one, or a reference to one. */
interface Attribute {
  readonly id?: string;
  readonly ref?: string;
  readonly type?: string | { readonly members: readonly Member[] };
  readonly brief?: string;
  readonly stability?: string;
  readonly requirement_level?: string | Readonly<Record<string, string>>;
}

/** A group as a file has it. */
export interface Group {
  readonly id: string;
  readonly type: string;
  readonly brief?: string;
  readonly stability?: string;
  readonly extends?: string;
  readonly name?: string;
  readonly span_kind?: string;
  readonly metric_name?: string;
  readonly instrument?: string;
  readonly unit?: string;
  readonly attributes?: readonly Attribute[];
}

/** The registry of the folder `telemetry`, with what it imports. */
export interface Registry {
  readonly groups: readonly Group[];
  /** By name: the type, or the values that it may have. */
  readonly attributes: ReadonlyMap<string, string | readonly string[]>;
  /** The names of a group's attributes, its own and those it takes over, and whether each has to be there. */
  attributesOf(group: Group): ReadonlyMap<string, "required" | "optional">;
}

/** Reads the registry. Groups of the folder's own come first, then those that it imports. */
export function readRegistry(folder = "telemetry"): Registry {
  const own = readdirSync(folder)
    .filter((file) => file.endsWith(".yaml") && file !== "manifest.yaml")
    .flatMap((file): Group[] => parse(readFileSync(`${folder}/${file}`, "utf8")).groups);
  return registryOf([...own, ...IMPORTED]);
}

/** Makes a registry of groups. */
export function registryOf(groups: readonly Group[]): Registry {
  const defined = groups.flatMap(({ attributes = [] }) => attributes.filter(({ id }) => id !== undefined));
  const types = defined.map(({ id = "", type = "" }): [string, string | readonly string[]] => [
    id,
    typeof type === "string" ? type : type.members.map(({ value }) => value),
  ]);
  const attributesOf = (group: Group): Map<string, "required" | "optional"> => {
    const base = groups.find(({ id }) => id === group.extends);
    const taken = base === undefined ? [] : attributesOf(base);
    const refs = (group.attributes ?? []).map(({ ref = "", requirement_level: level }) => {
      return [ref, level === "required" ? "required" : "optional"] as const;
    });
    return new Map([...taken, ...refs]);
  };
  return { groups, attributes: new Map([...Object.entries(CONVENTIONS), ...types]), attributesOf };
}

function exceptionEvent(name: string): Group {
  const required = ["exception.type", "exception.message"].map((ref) => ({ ref, requirement_level: "required" }));
  const ofTask = ["task.id", "task.name", "task.attempt", "task.tag"];
  const optional = ["exception.stacktrace", ...ofTask].map((ref) => ({ ref }));
  return { id: `event.${name}`, type: "event", name, attributes: [...required, ...optional] };
}

function messageMetric(name: string, instrument: string, unit: string, others: readonly string[]): Group {
  const required = MESSAGING.map((ref) => ({ ref, requirement_level: "required" }));
  const optional = ["messaging.destination.name", "server.address", "server.port", ...others].map((ref) => ({ ref }));
  return {
    id: `metric.${name}`,
    type: "metric",
    metric_name: name,
    instrument,
    unit,
    attributes: [...required, ...optional],
  };
}
