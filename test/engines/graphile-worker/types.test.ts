import * as graphile018 from "graphile-worker";
import * as graphile016 from "graphile-worker-016";
import { addJob, graphileEngine, withTask } from "otel-taskflow/graphile-worker";
import pg from "pg";
import { describe, expect, expectTypeOf, test } from "vitest";

const connectionString = "postgres://nobody@127.0.0.1:1/none";

describe("types", () => {
  test("the engine takes both versions' functions, and a pool of pg's", () => {
    const { run, makeWorkerUtils } = graphile018;
    expect(graphileEngine({ run, makeWorkerUtils, connectionString }).name).toBe("graphile-worker");
    const { run: run016, makeWorkerUtils: makeWorkerUtils016 } = graphile016;
    const pgPool = new pg.Pool({ connectionString });
    expect(graphileEngine({ run: run016, makeWorkerUtils: makeWorkerUtils016, pgPool }).destination).toBe(
      "graphile_worker",
    );
  });

  test("a wrapped task fits into both versions' task lists, and knows their helpers", () => {
    const list018: graphile018.TaskList = {
      send: withTask(async (payload, helpers) => {
        expectTypeOf(helpers).toEqualTypeOf<graphile018.JobHelpers>();
        expectTypeOf(helpers.abortSignal).toEqualTypeOf<AbortSignal>();
        return void payload;
      }),
    };
    const list016: graphile016.TaskList = {
      send: withTask(async (_payload, helpers) => void expectTypeOf(helpers).toEqualTypeOf<graphile016.JobHelpers>()),
      batch: withTask((_payload: unknown, _helpers: graphile016.JobHelpers) => [Promise.resolve()]),
    };
    expect([typeof list016.send, typeof list018.send]).toEqual(["function", "function"]);
  });

  test("addJob takes what adds jobs, and returns its job", () => {
    type Adders = graphile018.WorkerUtils | graphile018.JobHelpers | graphile018.Runner;
    const add018 = (adder: Adders) => addJob(adder, "send", { to: "ada" }, { jobKey: "a", tags: { plan: "pro" } });
    const add016 = (adder: graphile016.WorkerUtils | graphile016.JobHelpers) => addJob(adder, "send", 1);
    expectTypeOf(add018).returns.resolves.toEqualTypeOf<graphile018.Job>();
    expectTypeOf(add016).returns.resolves.toEqualTypeOf<graphile016.Job>();
  });
});
