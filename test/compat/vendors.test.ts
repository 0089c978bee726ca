import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { startReceiver, type VendorRequest } from "./receiver.js";
import { datadogSpans, newRelicSpans, otlpSpans, sentryLogs, sentrySpans, type VendorSpan } from "./vendor-spans.js";

/** What runs the tasks: engines, and a queue of BullMQ whose service has the one line alone. */
const ENGINES = ["memory", "bullmq", "adopted"] as const;
const cells = process.env.COMPAT_CELLS ?? "";

/** What the service saw from inside its tasks. */
interface Seen {
  readonly engine: string;
  readonly where: "function" | "helper";
  readonly argument: string;
  readonly taskId?: string;
  readonly attempt?: number;
  readonly tags?: Record<string, string>;
  readonly carried: Record<string, string>;
  readonly traceId?: string;
  readonly spanId?: string;
}

interface Facts {
  readonly seen: readonly Seen[];
  readonly troubles: readonly string[];
  /** Where the service found @opentelemetry/api. */
  readonly api: string;
  readonly held?: unknown;
  /** What the vendor's own instrumentation of BullMQ stored with each job of the adopted queue. */
  readonly metadata: readonly string[];
}

interface Answer {
  readonly charged: string;
  readonly looked: readonly string[];
  readonly inTask: boolean;
  readonly leaked: readonly unknown[];
}

interface Run extends Facts {
  readonly answers: Readonly<Record<string, Answer>>;
  readonly spans: readonly VendorSpan[];
  readonly received: readonly VendorRequest[];
  /** What the attempts of `charge` called. */
  readonly calls: readonly VendorRequest[];
  readonly stderr: string;
  readonly begin: number;
  readonly end: number;
}

interface Vendor {
  readonly folder: string;
  readonly env?: (receiver: string) => Record<string, string>;
  readonly spans: (requests: readonly VendorRequest[], facts: Facts) => VendorSpan[];
  /** What arrived of the lines that `onLog` gave to the vendor's own logger. */
  readonly logs?: typeof sentryLogs;
  /** Whether the vendor sends span events, which taskLog lines are. */
  readonly events: boolean;
  /** Whether baggage, and so tags, goes out with a call. */
  readonly baggage: boolean;
  /** Whether its own integration of BullMQ has the active span inside of each attempt of an adopted queue, without baggage. */
  readonly inside?: boolean;
  /** The engines in whose attempts the vendor sees no calls: its agent looks for its transaction in contexts of its own only. */
  readonly lostOver?: readonly (typeof ENGINES)[number][];
}

const VENDORS: readonly Vendor[] = [
  { folder: "sentry10", spans: sentrySpans, logs: sentryLogs, events: false, baggage: false },
  { folder: "sentry11", spans: sentrySpans, logs: sentryLogs, events: false, baggage: false },
  {
    folder: "dd-trace",
    spans: (requests) => datadogSpans(requests, join(cells, "dd-trace")),
    events: true,
    baggage: true,
    inside: true,
  },
  {
    folder: "elastic",
    env: (receiver) => ({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      // the others ask the cloud they run in
      OTEL_NODE_RESOURCE_DETECTORS: "env,process",
    }),
    spans: otlpSpans,
    events: true,
    baggage: true,
  },
  {
    folder: "newrelic",
    env: () => ({
      NEW_RELIC_LICENSE_KEY: "0".repeat(40),
      NEW_RELIC_APP_NAME: "compat",
      NEW_RELIC_HOST: "127.0.0.1",
      NEW_RELIC_PORT: "9",
      NEW_RELIC_LOG_ENABLED: "false",
      NEW_RELIC_OPENTELEMETRY_ENABLED: "true",
      // by default the agent keeps the spans of ten transactions a minute
      NEW_RELIC_DISTRIBUTED_TRACING_SAMPLER_ROOT: "always_on",
      NEW_RELIC_DISTRIBUTED_TRACING_SAMPLER_REMOTE_PARENT_SAMPLED: "always_on",
    }),
    spans: (_requests, { held }) => newRelicSpans(held),
    events: true,
    baggage: false,
    lostOver: ["bullmq"],
  },
];

describe.each(VENDORS)("under $folder", (vendor) => {
  let run: Run;
  beforeAll(async () => {
    run = await runService(vendor);
  });

  test("nothing is rejected unheard, and nothing is warned of", () => {
    expect(run).toMatchObject({ troubles: [], stderr: "" });
    expect(run.api).toContain(join(cells, vendor.folder, "node_modules"));
  });

  if (vendor.inside) {
    test("its own spans of an adopted queue, and what it stores with each job, are as they were", () => {
      const { charged, looked } = run.answers.adopted ?? { charged: "", looked: [] };
      const ofQueue = run.spans.filter((span) => {
        const { component, "messaging.destination.name": queue } = span.attributes;
        return component === "bullmq" && String(queue).endsWith("-adopted");
      });
      const kinds = ofQueue.map(({ attributes }) => attributes["span.kind"]).sort();
      const jobs = [charged, ...looked];
      expect(kinds).toEqual(["consumer", ...jobs.map(() => "consumer"), ...jobs.map(() => "producer")]);
      expect(run.metadata.map((text) => Object.keys(JSON.parse(text)))).toEqual(jobs.map(() => ["_datadog"]));
    });
  }

  describe.each(ENGINES)("over %s", (engine) => {
    const answer = (): Answer => {
      const found = run.answers[engine];
      if (found === undefined) throw new Error(`the service gave no answer for ${engine}`);
      return found;
    };
    const spansOf = (taskId: string | undefined): readonly VendorSpan[] =>
      run.spans.filter(({ attributes }) => attributes["task.id"] === taskId);
    const enqueueOf = (taskId: string | undefined) => spansOf(taskId).find((span) => attemptOf(span) === undefined);
    const attemptsOf = (taskId: string | undefined): readonly VendorSpan[] =>
      spansOf(taskId)
        .filter((span) => attemptOf(span) !== undefined)
        .sort((one, other) => Number(attemptOf(one)) - Number(attemptOf(other)));
    // the vendor's own span is the active one, where it has one
    const isInside = vendor.inside === true && engine === "adopted";
    const seenIn = (taskId: string | undefined): readonly Seen[] => run.seen.filter((one) => one.taskId === taskId);

    test("the function and its helper see their own task in each attempt", () => {
      const { charged } = answer();
      const own = { argument: "o-1", tags: { plan: "pro" }, carried: { "task.tag.plan": "pro" } };
      expect(seenIn(charged)).toMatchObject([
        { ...own, attempt: 0, where: "function" },
        { ...own, attempt: 0, where: "helper" },
        { ...own, attempt: 1, where: "function" },
        { ...own, attempt: 1, where: "helper" },
      ]);
    });

    test("tasks that run at once see their own tags and baggage, and the request none", () => {
      const { looked, inTask, leaked } = answer();
      expect(looked.map((id) => seenIn(id))).toMatchObject(
        ["a", "b", "c"].map((label) => {
          const own = { argument: label, tags: { label }, carried: { "task.tag.label": label } };
          return [own, own];
        }),
      );
      expect({ inTask, leaked }).toEqual({ inTask: false, leaked: [] });
    });

    test("each attempt is one span, with its outcome", () => {
      const { charged, looked } = answer();
      expect(spansOf(charged)).toHaveLength(3);
      expect(attemptsOf(charged).map(({ attributes }) => attributes)).toMatchObject([
        { "task.attempt": 0, "task.outcome": "retry", "task.tag.plan": "pro", "error.type": "TypeError" },
        { "task.attempt": 1, "task.outcome": "success", "task.tag.plan": "pro" },
      ]);
      for (const id of looked) expect(attemptsOf(id)).toMatchObject([{ attributes: { "task.outcome": "success" } }]);
    });

    test("one trace leads from the request to each attempt", () => {
      for (const id of [answer().charged, ...answer().looked]) {
        const enqueue = enqueueOf(id);
        const attempts = attemptsOf(id);
        const request = run.spans.find(({ spanId }) => spanId === enqueue?.parentId);
        expect(request?.attributes).not.toHaveProperty("task.id");
        const inTrace = { traceId: request?.traceId };
        expect(enqueue).toMatchObject(inTrace);
        expect(attempts).toMatchObject(attempts.map(() => ({ ...inTrace, parentId: enqueue?.spanId })));
        // below its own producer's span, where the active one is the vendor's
        const own = ({ spanId }: Seen) => (isInside ? "" : spanId);
        const active = seenIn(id).map((seen) => `${seen.traceId?.slice(-16)} ${own(seen)}`);
        expect(new Set(active)).toEqual(
          new Set(attempts.map((span) => `${span.traceId} ${isInside ? "" : span.spanId}`)),
        );
      }
    });

    test("an attempt of 50 ms lasts about that, at the time it ran", () => {
      for (const { start, duration } of attemptsOf(answer().charged)) {
        expect(start).toBeGreaterThan(run.begin - 1_000);
        expect(start + duration).toBeLessThan(run.end + 1_000);
        expect(duration).toBeGreaterThan(45);
      }
    });

    // a job has no place for the id of a span that came after it was added
    test.skipIf(engine === "adopted")("a retry is linked to the attempt before it", () => {
      const [first, second] = attemptsOf(answer().charged);
      expect(second?.links).toContain(first?.spanId);
    });

    test(`the task's lines and its error ${vendor.events ? "arrive as" : "are no"} span events`, () => {
      const [first] = attemptsOf(answer().charged);
      const lines = isInside ? [] : ["Charging"];
      expect(first?.events).toEqual(vendor.events ? [...lines, "exception"] : []);
    });

    if (vendor.logs !== undefined) {
      test("the task's lines arrive by onLog, in the trace of their attempt", () => {
        const [{ traceId } = {}] = attemptsOf(answer().charged);
        const logs = vendor.logs?.(run.received).filter((log) => log.traceId === traceId);
        expect(logs).toMatchObject([0, 1].map(() => ({ body: "Charging", level: "info" })));
      });
    }

    const own = (headers: IncomingHttpHeaders) => ({
      traceId: headers.traceparent?.slice(19, 35),
      tagged: headers.baggage?.includes("task.tag.plan=pro") ?? false,
    });
    const calls = () => run.calls.filter(({ path }) => path === `/${engine}`).map(({ headers }) => own(headers));

    if (vendor.lostOver?.includes(engine)) {
      test("a call out of an attempt goes without its trace", () => {
        expect(calls()).toEqual([0, 1].map(() => ({ traceId: undefined, tagged: false })));
      });
    } else {
      test(`a call out of an attempt goes on with its trace, ${vendor.baggage ? "and with" : "but without"} its tags`, () => {
        const tagged = vendor.baggage && !isInside;
        expect(calls()).toEqual(attemptsOf(answer().charged).map(({ traceId }) => ({ traceId, tagged })));
      });
    }
  });
});

function attemptOf({ attributes }: VendorSpan): unknown {
  return attributes["task.attempt"];
}

async function runService({ folder, env, spans }: Vendor): Promise<Run> {
  const begin = Date.now();
  const [receiver, called] = await Promise.all([startReceiver(), startReceiver()]);
  const cell = join(cells, folder);
  const own = {
    CELL: folder,
    SETUP: join(cell, "setup.mjs"),
    RECEIVER: receiver.url,
    CALLED: called.url,
    ...env?.(receiver.url),
  };
  const args = ["--import", "./setup.mjs", "service.mjs"];
  const stdio = ["ignore", "ignore", "pipe", "ipc"] as const;
  const service = spawn(process.execPath, args, { cwd: cell, env: { ...process.env, ...own }, stdio: [...stdio] });
  let stderr = "";
  service.stderr?.on("data", (chunk) => {
    stderr += String(chunk);
  });
  const { port } = await told<{ port: number }>(service, () => stderr);
  const answers: Record<string, Answer> = {};
  for (const engine of ENGINES) {
    answers[engine] = (await (await fetch(`http://127.0.0.1:${port}/${engine}`)).json()) as Answer;
  }
  service.send("stop");
  const facts = await told<Facts>(service, () => stderr);
  await once(service, "exit");
  for (const server of [receiver, called]) server.close();
  return {
    ...facts,
    answers,
    spans: spans(receiver.requests, facts),
    received: receiver.requests,
    calls: called.requests,
    stderr,
    begin,
    end: Date.now(),
  };
}

/** The next message of a process, or its failure. */
async function told<T>(service: ChildProcess, stderr: () => string): Promise<T> {
  return await new Promise((resolve, reject) => {
    service.once("message", (message) => resolve(message as T));
    service.once("exit", () => reject(new Error(`the service has ended early: ${stderr()}`)));
  });
}
