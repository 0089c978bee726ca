import { getTaskContext, taskLog } from "otel-taskflow";
import { fetchTotal, type Section } from "./accounts-client.js";

type Totals = Partial<Record<Section, number>>;

/** What is loaded already, by user. With more than one process this would be a table. */
const loaded = new Map<number, Totals>();

export function fullReport(userId: number): Promise<Totals> {
  return load(userId, ["orders", "invoices"]);
}

export function summaryReport(userId: number): Promise<Totals> {
  return load(userId, ["orders"]);
}

// Two calls below the task, and nobody had to pass the attempt down here.
function load(userId: number, sections: Section[]): Promise<Totals> {
  const attempt = getTaskContext()?.attempt ?? 0;
  return attempt === 0 ? loadAll(userId, sections) : loadMissing(userId, sections);
}

async function loadAll(userId: number, sections: Section[]): Promise<Totals> {
  taskLog("Loading everything", { sections });
  const totals: Totals = {};
  loaded.set(userId, totals);
  for (const section of sections) totals[section] = await fetchTotal(userId, section);
  return totals;
}

async function loadMissing(userId: number, sections: Section[]): Promise<Totals> {
  const totals = loaded.get(userId) ?? {};
  const missing = sections.filter((section) => totals[section] === undefined);
  taskLog("Loading only what is missing", { sections: missing, level: "warn" });
  for (const section of missing) totals[section] = await fetchTotal(userId, section);
  return totals;
}
