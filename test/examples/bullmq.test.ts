import { Redis } from "ioredis";
import { beforeAll, describe, expect, it } from "vitest";
import { redisUrl } from "../support/servers.js";
import { describeUnavailable } from "../support/unavailable.js";
import { printedFacts } from "./printed-facts.js";
import { expectedOutput, type Run, runExample } from "./run-example.js";

const EXAMPLES = ["producer", "worker", "own-queue"].map((name) => `examples/bullmq/${name}.ts`);
const TRACE_ID = /trace ([0-9a-f]{32})/;
// a database that no other test uses
const DATABASE = "/9";

const { url, unavailable } = await redisUrl();
if (url === undefined) describeUnavailable("examples/bullmq", unavailable);
else describe("examples/bullmq", () => describeExamples(Object.assign(new URL(url), { pathname: DATABASE }).href));

function describeExamples(url: string): void {
  const runs: Run[] = [];
  beforeAll(async () => {
    await clear(url);
    for (const example of EXAMPLES) runs.push(await runExample(`tsx ${example}`, { REDIS_URL: url }));
    await clear(url);
  });

  it("end by themselves, without a complaint", () => {
    expect(runs).toMatchObject(EXAMPLES.map(() => ({ exitCode: 0, stderr: "" })));
  });

  it("producer and worker share one trace across the two processes", () => {
    const [enqueued, processed] = runs.map(({ stdout }) => TRACE_ID.exec(stdout)?.[1]);
    expect([typeof enqueued, processed]).toEqual(["string", enqueued]);
  });

  it.each(EXAMPLES)("%s prints what its closing comment says, apart from ids and times", (example) => {
    const printed = runs[EXAMPLES.indexOf(example)]?.stdout ?? "";
    expect(printedFacts(printed)).toEqual(printedFacts(expectedOutput(example)));
  });
}

/** Removes what the examples' own queues hold. */
async function clear(url: string): Promise<void> {
  const redis = new Redis(url);
  const keys = await Promise.all(["examples", "payments"].map((queue) => redis.keys(`bull:${queue}:*`)));
  for (const key of keys.flat()) await redis.del(key);
  await redis.quit();
}
