import { beforeAll, describe, expect, it } from "vitest";
import { expectedOutput, type Run, runExample, startCommand } from "./run-example.js";

describe("npm start", () => {
  let run: Run;
  beforeAll(async () => {
    run = await runExample(startCommand());
  });

  /** The printed trace of the request for this user. */
  function treeOf(userId: number): string {
    const trees = run.stdout.split(/^(?=trace )/m).filter((tree) => tree.includes(`userId=${userId} `));
    expect(trees).toHaveLength(1);
    return String(trees[0]);
  }

  it("succeeds without a word on stderr", () => {
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
  });

  it("shows two retries and the success in the trace of one request", () => {
    const attempts = treeOf(1).match(/process generateReport.*/g);
    expect(attempts).toEqual([
      expect.stringContaining("attempt 0 of 3 ↻ retry in 200ms"),
      expect.stringContaining("attempt 1 of 3 ↻ retry in 400ms"),
      expect.stringContaining("attempt 2 of 3 ✓ success"),
    ]);
  });

  it("takes another path on a retry than on the first run", () => {
    const loading = treeOf(1).match(/Loading .*/g);
    const retry = 'Loading only what is missing sections=["invoices"]';
    expect(loading).toEqual(['Loading everything sections=["orders","invoices"]', retry, retry]);
  });

  it("takes another path by the plan tag", () => {
    expect(treeOf(1)).toContain("Report ready orders=1250 invoices=980");
    expect(treeOf(2)).toContain("Report ready orders=1250\n");
  });

  it("shows the task that gives up, and why", () => {
    expect(treeOf(13)).toMatch(/process sendEmail.*attempt 0 of 3 ✗ failure/);
    expect(treeOf(13)).toContain("NonRetryableError: POST /users/13/emails answered 422: no such mailbox");
  });

  it("prints what the closing comment says, apart from ids, times and their order", () => {
    expect(facts(run.stdout)).toEqual(facts(expectedOutput("examples/report-service/main.ts")));
  });
});

/** The lines of an output without what differs from run to run: ids, times, the time axis, short waits. */
function facts(output: string): string[] {
  const lines = output.split("\n").map(fact);
  return lines.filter((line) => !/^(0?( TIME)*|waited TIME)$/.test(line)).sort();
}

function fact(line: string): string {
  return line
    .replace(/127\.0\.0\.1:\d+/, "ADDRESS")
    .replace(/[0-9a-f]{32}/, "ID")
    .replace(/\+?\b[\d.]+(µs|ms|s)\b/g, "TIME")
    .replace(/[│├└─░█▏·\s]+/g, " ")
    .trim();
}
