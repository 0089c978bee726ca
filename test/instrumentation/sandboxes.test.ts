import { expect, test } from "vitest";
import type { Application } from "./application.js";
import { describeApplications } from "./applications.js";

interface Ran {
  readonly ended: Readonly<
    Record<string, { id: string; value: { traceId?: string; spans: string[] }; attempts: number }>
  >;
  readonly spans: readonly { name: string; traceId: string; outcome?: string; attempt?: number; function?: string }[];
}

async function ran(application: Application, env: Readonly<Record<string, string>>): Promise<Ran> {
  const { code, stdout, stderr } = await application.node(["--import", "./otel.mjs", "sandboxes.mjs"], env);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

const attemptsOf = ({ spans }: Ran, job: string): unknown[] =>
  spans.filter(({ name }) => name === `process ${job}`).map(({ attempt, outcome }) => [attempt, outcome]);

describeApplications("a sandboxed processor", (open) => {
  test.each<[string, Record<string, string>]>([
    ["process", {}],
    ["thread", { THREADS: "yes" }],
  ])("in a %s that has the set-up is in its task, which the parent counts", async (_kind, env) => {
    const result = await ran(open(), env);
    const { id, value } = result.ended.works ?? {};
    const [enqueued, processed] = result.spans.filter(({ name }) => name.endsWith(" works"));
    expect(value).toEqual({ taskId: id, attempt: 0, tags: {}, traceId: enqueued?.traceId, keys: [], spans: [] });
    expect([processed?.traceId, processed?.function]).toEqual([enqueued?.traceId, undefined]);
    expect(attemptsOf(result, "works")).toEqual([[0, "success"]]);
    expect([attemptsOf(result, "gives-up"), result.ended["gives-up"]?.attempts]).toEqual([[[0, "failure"]], 1]);
  });

  test("whose process is killed has the span of its attempt, and of the next", async () => {
    const result = await ran(open(), {});
    expect(attemptsOf(result, "dies")).toEqual([
      [0, "retry"],
      [1, "success"],
    ]);
  });

  test("in a process without the set-up runs as before, and the parent counts it", async () => {
    const result = await ran(open(), { BARE: "yes" });
    expect(result.ended.works?.value).toMatchObject({ spans: [] });
    expect(result.ended.works?.value.traceId).toBeUndefined();
    expect(attemptsOf(result, "works")).toEqual([[0, "success"]]);
  });
});
