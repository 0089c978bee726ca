import { expect, test } from "vitest";
import { describeApplications } from "./applications.js";

interface Served {
  readonly seen: readonly { job: string; isTask: boolean; attempt?: number; ofStore: string | null }[];
  readonly heard: readonly { job: string; event: string; isTask: boolean }[];
  readonly ran: readonly string[];
  readonly values: readonly [unknown, unknown, boolean, { taskId?: string; attempt?: number }];
  readonly spans: readonly { name: string; attempt?: number; outcome?: string; inTrace: boolean }[];
}

describeApplications(
  "a NestJS application with @nestjs/bullmq",
  (open) => {
    test.each(["nest.mjs", "nest.cjs"])("is in its tasks, whatever form a processor has (%s)", async (program) => {
      const { code, stdout, stderr } = await open().node(["--import", "./otel.mjs", program]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const { seen, heard, ran, values, spans }: Served = JSON.parse(stdout);
      // a class with a switch, and what it calls, inside of nestjs-cls; a request-scoped one, whose request is the job
      const seenOf = (job: string, ofStore: string | null, attempt = 0) => ({ job, isTask: true, attempt, ofStore });
      const mails = [seenOf("digest", "digest"), seenOf("digest", "digest", 1), seenOf("welcome", "welcome")];
      expect(sorted(seen)).toEqual(sorted([...mails, seenOf("scoped", null)]));
      const [, digest, isSame, file] = values;
      expect([digest, isSame, file.attempt]).toEqual([1, true, 0]);
      // @OnWorkerEvent
      const heardOf = (job: string, event: string) => ({ job, event, isTask: true });
      const digests = ["failed", "completed"].map((event) => heardOf("digest", event));
      expect(sorted(heard)).toEqual([...digests, heardOf("welcome", "completed")]);
      // the worker class of the service's own
      expect(ran.toSorted()).toEqual(["digest", "digest", "scoped", "welcome"]);
      expect(spans.every(({ inTrace }) => inTrace)).toBe(true);
      expect(spans.map(({ name, outcome = "" }) => `${name} ${outcome}`.trim()).toSorted()).toEqual([
        ...["POST /orders", "enqueue digest", "enqueue file", "enqueue scoped", "enqueue welcome"],
        ...["process digest retry", "process digest success", "process file success"],
        ...["process scoped success", "process welcome success"],
      ]);
    });
  },
  ["@nestjs", "nestjs-cls"],
);

function sorted<T extends { readonly job: string }>(noted: readonly T[]): T[] {
  return noted.toSorted((a, b) => a.job.localeCompare(b.job));
}
