import { join } from "node:path";
import { build } from "esbuild";
import { describe, expect, test } from "vitest";
import { describeApplications } from "./applications.js";

interface Served {
  readonly seen: readonly { readonly same: boolean; readonly funcName?: string; readonly isTold: boolean }[];
  readonly spans: readonly { readonly name: string; readonly traceId: string; readonly function?: string }[];
  readonly options: readonly boolean[];
}

/** CommonJS that was bundled into an ES module looks for these. */
const REQUIRE = `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);`;
const JOBS = ["first", "second", "third"];
const spansOf = (jobs: readonly string[]): string[] => jobs.flatMap((job) => [`enqueue ${job}`, `process ${job}`]);

describeApplications("TaskInstrumentation", (open) => {
  const serve = async (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Served> => {
    const { code, stdout, stderr } = await open().node(args, env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return JSON.parse(stdout);
  };

  test.each<[what: string, program: string, env: Record<string, string>]>([
    ["that is an ES module", "service.mjs", {}],
    ["that is an ES module, without OpenTelemetry's hook for them", "service.mjs", { HOOK: "no" }],
    ["that is CommonJS", "service.cjs", {}],
  ])("makes tasks of the jobs of a service %s", async (_what, program, env) => {
    const { seen, spans, options } = await serve(["--import", "./otel.mjs", program], env);
    expect(seen).toEqual(JOBS.map((job, n) => ({ same: true, funcName: job, data: { n: n + 1 }, isTold: true })));
    expect(spans.map(({ name }) => name).sort()).toEqual(spansOf(JOBS).sort());
    expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(3);
    expect(spans.filter(({ name }) => name.startsWith("process")).map((span) => span.function)).toEqual(
      JOBS.map(() => "charge"),
    );
    expect(options).toEqual([true, true, true]);
  });

  test.each(["service.mjs", "service.cjs"])("serves what %s made before the SDK started", async (program) => {
    const { seen, spans } = await serve(["--import", "./otel.mjs", program], { LATE: "yes" });
    expect(seen.map(({ funcName }) => funcName)).toEqual([undefined, "second", "third"]);
    expect(spans.map(({ name }) => name).sort()).toEqual(spansOf(["second", "third"]).sort());
  });

  test("leaves the library alone where its option says so", async () => {
    const { seen, spans, options } = await serve(["--import", "./otel.mjs", "service.cjs"], {
      CONFIG: JSON.stringify({ bullmq: false }),
    });
    expect(seen.map(({ funcName }) => funcName)).toEqual([undefined, undefined, undefined]);
    expect([spans, options]).toEqual([[], [false, false, false]]);
  });

  test("makes no more tasks once it is disabled", async () => {
    const { seen, spans } = await serve(["--import", "./otel.mjs", "service.mjs"], { DISABLE: "yes" });
    expect(seen.map(({ funcName }) => funcName)).toEqual(["first", "second", undefined]);
    expect(spans.map(({ name }) => name).sort()).toEqual(spansOf(["first", "second"]).sort());
  });

  describe("in a bundle", () => {
    const bundle = async (program: string, format: "esm" | "cjs", external: readonly string[]): Promise<string> => {
      const outfile = join(open().folder, `${program}.${format === "esm" ? "bundle.mjs" : "bundle.cjs"}`);
      await build({
        ...{ entryPoints: [join(open().folder, program)], outfile, format, bundle: true, platform: "node" },
        ...{
          external: [...external],
          minify: true,
          logLevel: "error",
          banner: { js: format === "esm" ? REQUIRE : "" },
        },
      });
      return outfile;
    };

    test.each(["esm", "cjs"] as const)("that leaves BullMQ out (%s), it does the same", async (format) => {
      const file = await bundle("service.cjs", format, ["bullmq", "otel-taskflow", "@opentelemetry/api"]);
      const { spans } = await serve(["--import", "./otel.mjs", file]);
      expect(spans.map(({ name }) => name).sort()).toEqual(spansOf(JOBS).sort());
    });

    test("that holds BullMQ, it says once that this copy has to be wrapped", async () => {
      const file = await bundle("service.cjs", "cjs", ["@opentelemetry/api"]);
      const { code, stdout, stderr } = await open().node(["--import", "./otel.mjs", file]);
      expect([code, JSON.parse(stdout).spans]).toEqual([0, []]);
      expect(stderr).toMatch(/^otel-taskflow: BullMQ is a part of the bundle .*withTasks\(\).*--import\.\n$/);
    });

    test("that holds BullMQ and wraps it, it is silent", async () => {
      const { spans } = await serve([
        "--import",
        "./otel.mjs",
        await bundle("wrapped.cjs", "cjs", ["@opentelemetry/api"]),
      ]);
      expect(spans.map(({ name }) => name).sort()).toEqual(spansOf(JOBS).sort());
    });
  });
});
