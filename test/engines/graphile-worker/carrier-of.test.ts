import { getTaskContext, runAttempt } from "otel-taskflow";
import { addJob, carrierOf, type GraphileJob } from "otel-taskflow/graphile-worker";
import { describe, expect, test } from "vitest";
import { postgresUrl } from "../../support/servers.js";
import { collectDiag, startTelemetry } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { queryOnce } from "./database.js";
import { VERSIONS, type Version } from "./versions.js";
import { openWorker } from "./worker.js";

const { url: server = "", unavailable } = await postgresUrl();

if (unavailable !== undefined) describeUnavailable("graphile-worker's carrierOf", unavailable);
else for (const version of VERSIONS) describe(`carrierOf with graphile-worker ${version}`, () => cases(version));

function cases(version: Version): void {
  test("has the attempt of a job that was read by hand in its producer's trace, with its tags", async () => {
    const telemetry = startTelemetry();
    const { utils, url } = await openWorker(version, server);
    await addJob(utils, "mail", {}, { tags: { plan: "pro" }, flags: ["own"] });
    const [job] = await queryOnce<GraphileJob>(url, "select * from graphile_worker.jobs");
    const carrier = job && carrierOf(job);
    const seen = await runAttempt({ carrier, taskId: String(job?.id) }, () => getTaskContext());
    expect(seen).toMatchObject({ funcName: "mail", tags: { plan: "pro" }, taskId: String(job?.id) });
    const [enqueued, processed] = [telemetry.span("enqueue mail"), telemetry.span("process mail")];
    expect(processed.spanContext().traceId).toBe(enqueued.spanContext().traceId);
  });

  test("is undefined for a job without one, and empty for one that is damaged", () => {
    collectDiag();
    for (const flags of [null, {}, { own: true }]) expect(carrierOf({ flags })).toBeUndefined();
    for (const text of ["{not json", "5"])
      expect(carrierOf({ flags: { [`otel-taskflow:${text}`]: true } })).toEqual({});
  });
}
