import type { makeWorkerUtils, WorkerUtils } from "graphile-worker";
import { beforeEach, describe, expect, test } from "vitest";
import { postgresUrl } from "../../support/servers.js";
import { collectDiag } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { losing, waiting } from "./lost-answers.js";
import { openRig, type Rig } from "./rig.js";
import { VERSIONS, type Version } from "./versions.js";

type Make = typeof makeWorkerUtils;

/** Arguments that are stored with this text are refused. */
const REFUSED = "refused";
const REFUSE = `
  create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
  create trigger refuse before insert on graphile_worker._private_jobs
    for each row when (new.payload::text like '%${REFUSED}%') execute function refuse();`;

const { url: server = "", unavailable } = await postgresUrl();

if (unavailable !== undefined) describeUnavailable("tasks of the same moment", unavailable);
else for (const version of VERSIONS) describe(`with graphile-worker ${version}`, () => togetherCases(version));

function togetherCases(version: Version): void {
  let rig: Rig;
  beforeEach(async () => {
    rig = await openRig(version, server);
  });

  test("tasks that are added at the same moment are stored by few statements, and start in their order", async () => {
    const sent: string[] = [];
    const tasks = rig.open({ makeWorkerUtils: counting(rig.make, sent), concurrency: 1 });
    const seen: unknown[] = [];
    const even = tasks.task("even", (n: number) => void seen.push(n));
    const odd = tasks.task("odd", (n: number) => void seen.push(n));
    const numbers = Array.from({ length: 150 }, (_, n) => n);
    const add = (n: number): Promise<string> => tasks.addTask(n % 2 === 0 ? even : odd, [n], { tags: { n } });
    const ids = await Promise.all([...numbers.map(add), tasks.addTask(odd, [-1], { delay: 60_000 })]);
    expect(sent.filter((text) => text.includes("add_job"))).toHaveLength(2);
    expect(new Set(ids).size).toBe(151);
    const [delayed] = await rig.sql<{ late: boolean }>(
      "select run_at > now() + interval '50 s' as late from graphile_worker.jobs where key = $1",
      [ids.at(-1)],
    );
    expect(delayed).toEqual({ late: true });
    await tasks.cancel(ids.at(-1) ?? "");
    await tasks.work();
    await tasks.idle();
    expect(seen).toEqual(numbers);
  });

  test("a task that the database refuses keeps none from it that are added at the same moment", async () => {
    const tasks = rig.open();
    const seen: unknown[] = [];
    const task = tasks.task("task", (text: string) => void seen.push(text));
    await tasks.addTask(task, ["first"]);
    await rig.sql(REFUSE);
    const added = ["one", REFUSED, 'a "b", \\c {d}'].map((text) => tasks.addTask(task, [text]));
    const states = (await Promise.allSettled(added)).map(({ status }) => status);
    expect(states).toEqual(["fulfilled", "rejected", "fulfilled"]);
    await tasks.work();
    await tasks.idle();
    expect(new Set(seen)).toEqual(new Set(["first", "one", 'a "b", \\c {d}']));
    expect(seen).toHaveLength(3);
  });

  test("tasks that are too long together for one text are stored one by one", async () => {
    const tooLong = (): Promise<never> => Promise.reject(new RangeError("Invalid string length"));
    const tasks = rig.open({ makeWorkerUtils: waiting(rig.make, /unnest/, tooLong) });
    const seen: unknown[] = [];
    const task = tasks.task("task", (n: number) => void seen.push(n));
    await Promise.all([1, 2, 3].map((n) => tasks.addTask(task, [n])));
    await tasks.work();
    await tasks.idle();
    expect(seen.toSorted()).toEqual([1, 2, 3]);
  });

  test("where the answer to their statement is lost, each says so, and none is stored twice", async () => {
    collectDiag();
    const tasks = rig.open({ makeWorkerUtils: losing(rig.make, { of: /unnest/ }) });
    const seen: unknown[] = [];
    const task = tasks.task("task", (n: number) => void seen.push(n));
    const states = await Promise.allSettled([1, 2, 3].map((n) => tasks.addTask(task, [n])));
    const lost = { status: "rejected", reason: expect.objectContaining({ code: "TASK_STORE", stored: undefined }) };
    expect(states).toEqual([lost, lost, lost]);
    await tasks.work();
    await tasks.idle();
    expect(seen.toSorted()).toEqual([1, 2, 3]);
  });
}

/** graphile-worker's function of this name; what its utilities ask the database is kept in `sent`. */
function counting(make: Make, sent: string[]): Make {
  return async (options) => {
    const utils = await make(options);
    const lend = utils.withPgClient.bind(utils);
    const withPgClient: WorkerUtils["withPgClient"] = (use) =>
      lend((client) => {
        const query = (text: string, values?: unknown[]): unknown => {
          sent.push(text);
          return client.query(text, values);
        };
        return use(Object.assign(Object.create(client), { query }));
      });
    return Object.assign(utils, { withPgClient });
  };
}
