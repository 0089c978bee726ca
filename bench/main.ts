// npm run bench [-- p2 p5]: every measurement, or those named. See README.md.
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import type { Measurement } from "./harness/measurement.js";
import type { Figures } from "./harness/paired.js";

const HERE = fileURLToPath(new URL(".", import.meta.url));
// Inside the package, so that `import "otel-taskflow"` is the built package, as an application gets it.
const OUT = fileURLToPath(new URL("../dist/bench/", import.meta.url));
const COLUMNS = ["#", "what", "ours", "peer", "ratio", "target", "met"];

await main(process.argv.slice(2).map((name) => name.toLowerCase()));

async function main(selection: readonly string[]): Promise<void> {
  if (!existsSync(new URL("../dist/esm/index.js", import.meta.url))) throw new Error("npm run build comes first");
  await compile();
  const { measure } = (await import(url("harness/paired.js"))) as typeof import("./harness/paired.js");
  console.log(`Node ${process.version}, ${new Date().toISOString().slice(0, 10)}\n`);
  printRow(COLUMNS);
  printRow(COLUMNS.map(() => "---"));
  for (const name of measurementFiles(selection)) {
    const file = url(`${name}.js`);
    const { measurements } = (await import(file)) as { measurements: readonly Measurement[] };
    for (const [index, measurement] of measurements.entries()) {
      printRow(cells(name, measurement, await measure(file, index, measurement)));
    }
  }
}

// By esbuild alone, not by tsx: its wrappers that keep names would slow every closure and class.
async function compile(): Promise<void> {
  const entryPoints = [`${HERE}p*.ts`, `${HERE}harness/*.ts`];
  await build({ entryPoints, outdir: OUT, outbase: HERE, format: "esm", target: "es2022", sourcemap: true });
}

function measurementFiles(selection: readonly string[]): string[] {
  const all = readdirSync(HERE).flatMap((file) => (/^p\d+-.*\.ts$/.test(file) ? [file.slice(0, -3)] : []));
  const wanted = all.filter((name) => selection.length === 0 || selection.includes(numberOf(name)));
  if (wanted.length === 0) throw new Error(`nothing is called ${selection.join(", ")}; there is ${all.join(", ")}`);
  return wanted.sort((a, b) => Number(numberOf(a).slice(1)) - Number(numberOf(b).slice(1)));
}

function numberOf(name: string): string {
  return name.slice(0, name.indexOf("-"));
}

function cells(
  name: string,
  { what, unit, judgement, target }: Measurement,
  { ours, peer, judged }: Figures,
): string[] {
  const withUnit = (value: number): string => `${show(value)} ${unit}`;
  const bound = judgement === "ratio" ? String(target) : `${judgement === "difference" ? "+" : ""}${target} ${unit}`;
  return [
    numberOf(name).toUpperCase(),
    what,
    withUnit(ours),
    peer === undefined ? "" : withUnit(peer),
    { ratio: judged.toFixed(2), difference: `${judged < 0 ? "" : "+"}${withUnit(judged)}`, value: "" }[judgement],
    `≤ ${bound}`,
    judged <= target ? "yes" : "NO",
  ];
}

function show(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function printRow(row: readonly string[]): void {
  console.log(`| ${row.join(" | ")} |`);
}

function url(path: string): string {
  return pathToFileURL(OUT + path).href;
}
