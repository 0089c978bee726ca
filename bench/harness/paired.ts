import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Judgement, Measurement } from "./measurement.js";

/** One side of a line: what to run of which folder of compiled benches. */
interface Runner {
  readonly folder: URL;
  readonly name: string;
  readonly index: number;
  readonly side: "ours" | "peer";
}

/** The folder of the benches of this checkout, as they are compiled. */
export const HERE: URL = new URL("../", import.meta.url);

/** Medians over all counted rounds. `judged` is the median of the rounds' own ratios or differences. */
export interface Figures {
  readonly ours: number;
  readonly peer: number | undefined;
  readonly judged: number;
}

/**
 * Runs both sides of a measurement in turns, each in a process of its own: neither pays for the other's context
 * manager, SDK or heap, and what slows the machine for a while slows a whole round. With the benches of another checkout
 * in `against`, its own side is the peer.
 */
export async function measure(name: string, index: number, measurement: Measurement, against?: URL): Promise<Figures> {
  const ours: Runner = { folder: HERE, name, index, side: "ours" };
  const peer: Runner | undefined =
    against === undefined ? measurement.peer && { ...ours, side: "peer" } : { ...ours, folder: against };
  const rounds: [ours: number, peer: number | undefined][] = [];
  for (let pair = 0; pair < (measurement.pairs ?? 3); pair += 1) {
    rounds.push(...(await runPair(ours, peer, measurement)));
  }
  const peers = rounds.flatMap(([, figure]) => (figure === undefined ? [] : [figure]));
  const judgement = against === undefined ? measurement.judgement : "ratio";
  return {
    ours: median(rounds.map(([figure]) => figure)),
    peer: peers.length === 0 ? undefined : median(peers),
    judged: median(rounds.map(([figure, other]) => judge(judgement, figure, other))),
  };
}

async function runPair(
  ours: Runner,
  peer: Runner | undefined,
  { rounds, warmUp = 3 }: Measurement,
): Promise<[number, number | undefined][]> {
  const own = await start(ours);
  const other = peer && (await start(peer));
  const results: [number, number | undefined][] = [];
  for (let round = -warmUp; round < rounds; round += 1) {
    // who goes first alternates too
    const early = round % 2 === 0 ? undefined : await ask(other);
    const figure = (await ask(own)) ?? Number.NaN;
    const theirs = early ?? (await ask(other));
    if (round >= 0) results.push([figure, theirs]);
  }
  own.disconnect();
  other?.disconnect();
  return results;
}

async function start({ folder, name, index, side }: Runner): Promise<ChildProcess> {
  const execArgv = ["--expose-gc", "--enable-source-maps", ...inspection(side)];
  const [program, file] = [new URL("harness/side.js", folder), new URL(`${name}.js`, folder)];
  const child = fork(fileURLToPath(program), [file.href, String(index), side], { execArgv });
  child.once("exit", (code, signal) => {
    if (code !== 0) throw new Error(`${file}, side ${side}: ended with ${signal ?? code}`);
  });
  await once(child, "message");
  return child;
}

// BENCH_CPU_PROF=1 writes a CPU profile of each side into the working directory.
function inspection(side: string): string[] {
  return process.env.BENCH_CPU_PROF ? ["--cpu-prof", `--cpu-prof-name=bench-${side}-${Date.now()}.cpuprofile`] : [];
}

async function ask(child: ChildProcess | undefined): Promise<number | undefined> {
  if (child === undefined) return undefined;
  child.send("round");
  const [figure] = await once(child, "message");
  return figure as number;
}

function judge(judgement: Judgement, ours: number, peer = Number.NaN): number {
  if (judgement === "value") return ours;
  return judgement === "ratio" ? ours / peer : ours - peer;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = Number.NaN, high = low] = sorted.slice(sorted.length % 2 === 0 ? middle - 1 : middle, middle + 1);
  return (low + high) / 2;
}
