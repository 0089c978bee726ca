import { describe, expect, onTestFinished, test, vi } from "vitest";
import { postgresUrl } from "../../support/servers.js";
import { createTasks } from "../../support/tasks.js";
import { collectDiag, startTelemetry } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { createDatabase, dropDatabase, queryOnce } from "./database.js";
import { describeRoads, type Road } from "./roads.js";
import { VERSIONS, type Version } from "./versions.js";
import { openStore } from "./worlds.js";

const LATIN1 = "encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0";

const { url: server = "", unavailable } = await postgresUrl();

await describeRoads("errors that a database cannot hold", errorCases);

if (unavailable !== undefined) describeUnavailable("texts that a database cannot hold", unavailable);
else for (const version of VERSIONS) describe(`with graphile-worker ${version}`, () => textCases(version));

function errorCases({ addJob, withTask, open }: Road): void {
  test("an error that cannot be stored fails its attempt like any other, and the worker goes on", async () => {
    collectDiag();
    const telemetry = startTelemetry();
    const { utils, run, events, ended } = await open();
    const told: unknown[] = [];
    events.on("job:error", ({ error }) => told.push(error));
    const errors: [unknown, string][] = [
      [new SyntaxError("Unexpected token \0"), "Unexpected token \ufffd"],
      [new Error("half \ud83d"), "half \ufffd"],
      ["\0", "the task threw \ufffd"],
      [Object.assign(new Error("no"), { message: Symbol("odd") }), "the task threw [unreadable]"],
      [Object.assign(new Error("no"), { stack: Object.create(null) }), "no"],
    ];
    await run({ send: withTask((payload) => Promise.reject(errors[(payload as { n: number }).n]?.[0])) });
    for (const [n, [, text]] of errors.entries()) {
      const { id } = await addJob(utils, "send", { n });
      expect(await ended(id)).toMatchObject({ attempts: 1, locked_at: null, last_error: text });
    }
    expect(told.map((error) => (error as Error).cause)).toEqual(errors.map(([error]) => error));
    const outcomes = telemetry.named("process send").map(({ attributes }) => attributes["task.outcome"]);
    expect(outcomes).toEqual(errors.map(() => "retry"));
  });

  test("the entries of a batch that failed with such errors are kept, and only those", async () => {
    const { utils, run, ended, url } = await open();
    const reasons = [null, new Error("half \ud83d"), new Error("nul \0"), new Error("plain")];
    const send = withTask((payload) =>
      (payload as number[]).map((n) => (n < reasons.length ? Promise.reject(reasons[n]) : Promise.resolve())),
    );
    await run({ send });
    const { id } = await addJob(utils, "send", [0, 9, 1, 2, 3]);
    const row = await ended(id);
    expect(row?.last_error).toBe("Batch failures:\nthe task threw null\nhalf \ufffd\nnul \ufffd\nplain");
    const [left] = await queryOnce<{ payload: unknown }>(url, "select payload from graphile_worker._private_jobs");
    expect(left?.payload).toEqual([0, 1, 2, 3]);
  });
}

function textCases(version: Version): void {
  test("a task gives up once, without details, where the database knows less than Unicode", async () => {
    collectDiag();
    const url = await createDatabase(server, LATIN1);
    onTestFinished(() => dropDatabase(server, url));
    const store = await openStore(JSON.stringify({ version, server, url }));
    const onFailure = vi.fn();
    const tasks = createTasks({ engine: store.engine(), onFailure });
    const task = tasks.task("pay", (sign: string) => Promise.reject(new Error(`no ${sign}`)));
    await tasks.addTask(task, ["£"]);
    await tasks.addTask(tasks.task("dear", () => Promise.reject(new Error("no €"))));
    await tasks.work();
    await tasks.idle();
    const rows = await queryOnce(url, "select last_error, locked_at, attempts from graphile_worker.jobs order by id");
    expect(rows).toEqual([
      { last_error: "no £", locked_at: null, attempts: 32_767 },
      { last_error: expect.stringContaining("cannot hold the text"), locked_at: null, attempts: 32_767 },
    ]);
    expect(onFailure).toHaveBeenCalledTimes(2);
  });
}
