// npm run bench [-- p2 p5 growth] [--against REF] [--node 24,26]: the measurements with a target, or those named. See
// README.md.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { checkOut, compileBenches } from "./harness/checkout.js";
import type { Measurement } from "./harness/measurement.js";
import type { Figures } from "./harness/paired.js";

const BENCHES = fileURLToPath(new URL(".", import.meta.url));
const COLUMNS = ["#", "what", "ours", "peer", "ratio", "target", "met"];
const COLUMNS_AGAINST = ["#", "what", "now", "then", "ratio"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { against: { type: "string" }, node: { type: "string" } },
});
const selection = positionals.map((name) => name.toLowerCase());
if (values.node === undefined) await main();
else for (const version of values.node.split(",")) runWith(version);

// npm has each Node.js as a package, and puts its binary first on the PATH of what it starts.
function runWith(version: string): void {
  const against = values.against === undefined ? [] : ["--against", values.against];
  const program = ["node", "--import", "tsx", fileURLToPath(import.meta.url), ...selection, ...against];
  const { status } = spawnSync("npm", ["exec", "--yes", `--package=node@${version}`, "--", ...program], {
    stdio: "inherit",
  });
  if (status !== 0) process.exitCode = 1;
}

async function main(): Promise<void> {
  if (!existsSync(new URL("../dist/esm/index.js", import.meta.url))) throw new Error("npm run build comes first");
  const { against: ref } = values;
  const folder = await compileBenches();
  const against = ref === undefined ? undefined : await checkOut(ref);
  const { measure } = (await import(`${folder}harness/paired.js`)) as typeof import("./harness/paired.js");
  console.log(`Node ${process.version}, ${new Date().toISOString().slice(0, 10)}${ref ? `, against ${ref}` : ""}\n`);
  const columns = against === undefined ? COLUMNS : COLUMNS_AGAINST;
  printRow(columns);
  printRow(columns.map(() => "---"));
  for (const name of measurementFiles()) {
    const { measurements } = (await import(`${folder}${name}.js`)) as { measurements: readonly Measurement[] };
    for (const [index, measurement] of measurements.entries()) {
      const figures = await measure(name, index, measurement, against);
      printRow(against === undefined ? cells(name, measurement, figures) : cellsAgainst(name, measurement, figures));
    }
  }
}

function measurementFiles(): string[] {
  const all = readdirSync(BENCHES).flatMap((file) => (/^(p\d+-.*|growth)\.ts$/.test(file) ? [file.slice(0, -3)] : []));
  // what has no number has no target, and is measured when it is asked for
  const wanted = all.filter((name) =>
    selection.length === 0 ? name.includes("-") : selection.includes(numberOf(name)),
  );
  if (wanted.length === 0) throw new Error(`nothing is called ${selection.join(", ")}; there is ${all.join(", ")}`);
  return wanted.sort((a, b) => Number(numberOf(a).slice(1)) - Number(numberOf(b).slice(1)));
}

function numberOf(name: string): string {
  return name.split("-", 1)[0] ?? name;
}

function cells(
  name: string,
  { what, unit, judgement, target }: Measurement,
  { ours, peer, judged }: Figures,
): string[] {
  const bound = judgement === "ratio" ? String(target) : `${judgement === "difference" ? "+" : ""}${target} ${unit}`;
  const verdict = target === undefined ? ["", ""] : [`≤ ${bound}`, judged <= target ? "yes" : "NO"];
  return [
    numberOf(name).toUpperCase(),
    what,
    show(ours, unit),
    peer === undefined ? "" : show(peer, unit),
    { ratio: judged.toFixed(2), difference: `${judged < 0 ? "" : "+"}${show(judged, unit)}`, value: "" }[judgement],
    ...verdict,
  ];
}

function cellsAgainst(
  name: string,
  { what, unit }: Measurement,
  { ours, peer = Number.NaN, judged }: Figures,
): string[] {
  return [numberOf(name).toUpperCase(), what, show(ours, unit), show(peer, unit), judged.toFixed(2)];
}

function show(value: number, unit: string): string {
  return `${Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3)} ${unit}`;
}

function printRow(row: readonly string[]): void {
  console.log(`| ${row.join(" | ")} |`);
}
