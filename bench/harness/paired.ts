import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Measurement } from "./measurement.js";

const SIDE = fileURLToPath(new URL("side.js", import.meta.url));

/** Medians over all counted rounds. `judged` is the median of the rounds' own ratios or differences. */
export interface Figures {
  readonly ours: number;
  readonly peer: number | undefined;
  readonly judged: number;
}

/**
 * Runs both sides of a measurement in turns, each in a process of its own: neither pays for the other's context
 * manager, SDK or heap, and what slows the machine for a while slows a whole round.
 */
export async function measure(file: string, index: number, measurement: Measurement): Promise<Figures> {
  const rounds: [ours: number, peer: number | undefined][] = [];
  for (let pair = 0; pair < (measurement.pairs ?? 3); pair += 1) {
    rounds.push(...(await runPair(file, index, measurement)));
  }
  const peers = rounds.flatMap(([, peer]) => (peer === undefined ? [] : [peer]));
  return {
    ours: median(rounds.map(([ours]) => ours)),
    peer: peers.length === 0 ? undefined : median(peers),
    judged: median(rounds.map(([ours, peer]) => judge(measurement, ours, peer))),
  };
}

async function runPair(
  file: string,
  index: number,
  { peer, rounds, warmUp = 3 }: Measurement,
): Promise<[number, number | undefined][]> {
  const ours = await start(file, index, "ours");
  const other = peer === undefined ? undefined : await start(file, index, "peer");
  const results: [number, number | undefined][] = [];
  for (let round = -warmUp; round < rounds; round += 1) {
    // who goes first alternates too
    const early = round % 2 === 0 ? undefined : await ask(other);
    const own = (await ask(ours)) ?? Number.NaN;
    const theirs = early ?? (await ask(other));
    if (round >= 0) results.push([own, theirs]);
  }
  ours.disconnect();
  other?.disconnect();
  return results;
}

async function start(file: string, index: number, side: "ours" | "peer"): Promise<ChildProcess> {
  const execArgv = ["--expose-gc", "--enable-source-maps", ...inspection(side)];
  const child = fork(SIDE, [file, String(index), side], { execArgv });
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

function judge({ judgement }: Measurement, ours: number, peer = Number.NaN): number {
  if (judgement === "value") return ours;
  return judgement === "ratio" ? ours / peer : ours - peer;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = Number.NaN, high = low] = sorted.slice(sorted.length % 2 === 0 ? middle - 1 : middle, middle + 1);
  return (low + high) / 2;
}
