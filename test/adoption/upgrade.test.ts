import { cpSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Queue } from "bullmq";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Application, createApplication } from "../instrumentation/application.js";
import { redisUrl } from "../support/servers.js";
import { describeUnavailable } from "../support/unavailable.js";

const TITLE = "a deployment with 500 jobs in flight";
const PROGRAMS = fileURLToPath(new URL("./programs/", import.meta.url));
const IN_FLIGHT = 500;
const LATER = 50;
const RUN_BY_OLD = 100;

/** What an application has in its set-up of OpenTelemetry. */
interface Stage {
  readonly old?: "bullmq-otel" | "@appsignal";
  readonly line?: { readonly producer?: boolean };
}

/** One run of a job. */
interface Run {
  readonly id: string;
  readonly attemptsMade: number;
  readonly traceId?: string;
  readonly taskId?: string;
  readonly attempt?: number;
}

const NEW: Stage = { line: {} };

const { url, unavailable } = await redisUrl();
if (url === undefined) describeUnavailable(TITLE, unavailable);
else describe(TITLE, () => cases(url));

function cases(redis: string): void {
  const { hostname: host, port } = new URL(redis);
  const connection = { host, port: Number(port || 6379), maxRetriesPerRequest: null };
  let application: Application;
  beforeAll(async () => {
    // the newest version that both of the others know
    application = await createApplication({ bullmq: "bullmq5" }, { CONNECTION: JSON.stringify(connection) });
    cpSync(PROGRAMS, application.folder, { recursive: true });
  });
  afterAll(() => application.remove());

  const run = async <T>(program: string, stage: Stage, env: Record<string, string | number>): Promise<T[]> => {
    const texts = Object.entries(env).map(([key, value]) => [key, String(value)]);
    const all = { ...Object.fromEntries(texts), STAGE: JSON.stringify(stage) };
    const { code, stdout, stderr } = await application.node([program], all);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return JSON.parse(stdout);
  };

  /** Deploys producers in these stages and workers in those, while jobs wait. */
  const deploy = async ([first, second, last]: readonly Stage[], oldWorker: Stage, newWorker: Stage) => {
    const QUEUE = `upgrade-${crypto.randomUUID()}`;
    onTestFinished(() => obliterate(QUEUE, connection));
    const add = (stage: Stage = {}, from: number, to: number) =>
      run<[string, string]>("producer.cjs", stage, { QUEUE, FROM: from, TO: to });
    const half = (IN_FLIGHT + RUN_BY_OLD) / 2;
    const waiting = [...(await add(first, 0, half)), ...(await add(second, half, 2 * half))];
    const early = await run<Run>("worker.cjs", oldWorker, { QUEUE, UNTIL: RUN_BY_OLD });
    const all = 2 * half + LATER;
    // a tenth of the jobs runs twice
    const left = all + all / 10 - early.length;
    const [later, late] = await Promise.all([
      add(last, 2 * half, all),
      run<Run>("worker.cjs", newWorker, { QUEUE, UNTIL: left }),
    ]);
    return { traces: new Map([...waiting, ...later]), early, late };
  };

  describe.each(["bullmq-otel", "@appsignal"] as const)("from %s", (old) => {
    test.each<[what: string, producers: Stage[]]>([
      ["workers first, at once", [{ old }, { old }, NEW]],
      ["producers first, beside the old one until its workers are gone", [{ old }, { old, ...NEW }, NEW]],
    ])("loses no job, runs none twice, and cuts no trace: %s", async (_what, producers) => {
      const { traces, early, late } = await deploy(producers, { old }, NEW);
      expect(namesOf([...early, ...late])).toEqual(expectedOf(traces.keys()));
      expect([...early, ...late].filter(({ id, traceId }) => traceId !== traces.get(id))).toEqual([]);
      expect(late.filter((run) => run.taskId !== run.id || run.attempt !== run.attemptsMade)).toEqual([]);
      expect(late.length).toBeGreaterThan(IN_FLIGHT);
    });
  });

  test("loses no job and runs none twice: workers first, with producers that add jobs as before until then", async () => {
    const producers: Stage[] = [{}, { line: { producer: false } }, NEW];
    const { traces, early, late } = await deploy(producers, {}, NEW);
    expect(namesOf([...early, ...late])).toEqual(expectedOf(traces.keys()));
    expect(late.filter((run) => run.taskId !== run.id || run.attempt !== run.attemptsMade)).toEqual([]);
    // those alone that were added with the line have a trace to go on with
    const inTrace = late.filter(({ id, traceId }) => traceId === traces.get(id)).map(({ id }) => id);
    expect([...new Set(inTrace)].sort()).toEqual([...traces.keys()].slice(-LATER).sort());
  });
}

/** Each run by its job and attempt. */
function namesOf(runs: readonly Run[]): string[] {
  return runs.map(({ id, attemptsMade }) => `${id} ${attemptsMade}`).sort();
}

function expectedOf(ids: Iterable<string>): string[] {
  return [...ids].flatMap((id) => (id.endsWith("0") ? [`${id} 0`, `${id} 1`] : [`${id} 0`])).sort();
}

async function obliterate(name: string, connection: object): Promise<void> {
  const queue = new Queue(name, { connection });
  await queue.obliterate({ force: true });
  await queue.close();
}
