import { diag } from "@opentelemetry/api";
import { isTaskConfigError, runAttempt, taskLog, taskLogFields } from "otel-taskflow";
import { patchConsole, type TaskConsoleOptions, taskConsole } from "otel-taskflow/console";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { createTasks } from "../support/tasks.js";
import { startTelemetry } from "../support/telemetry.js";
import { type RecordedConsole, recordedConsole } from "./recorded-console.js";
import { describeTaskFields, type SetUpLogger } from "./task-fields-contract.js";

type Write = (console: Console) => void;

const charge = { funcName: "charge", taskId: "id-1", attempt: 2 };
const PREFIX = "[charge task_attempt=2 task_id=id-1]";
const inTask = (write: () => void): Promise<void> => runAttempt(charge, write);

/** A console that names tasks, in each of the two ways. */
const WAYS: Record<string, (target: Console, options?: TaskConsoleOptions) => Console> = {
  taskConsole: (target, options) => taskConsole({ console: target, ...options }),
  patchConsole(target, options) {
    onTestFinished(patchConsole({ console: target, ...options }));
    return target;
  },
};

const LINES: readonly (readonly unknown[])[] = [
  ["charging"],
  ["100%% of %s, %d"],
  ["%s charged %d of %j", "Ada", 7, { a: 1 }],
  ["%s", "one", "two", 3],
  ["100%", { order: 7 }],
  ["%% of %s", "it"],
  ["%ccharging", "color: red"],
  ["%o and %O", [1], { a: { b: {} } }],
  [{ order: 7 }, "%s", "text"],
  [7, "charged", "%d"],
  [undefined],
  [""],
  [Symbol("order"), 7n],
  [["a"], new Map([[1, "%s"]])],
  ["first\nsecond"],
];

function written(write: Write, colorMode = false): string {
  const plain = recordedConsole(colorMode);
  write(plain.console);
  return plain.text();
}

describe.each(Object.entries(WAYS))("%s", (_way, create) => {
  function setUp(options?: TaskConsoleOptions, colorMode = false): RecordedConsole & { readonly own: Console } {
    const recorded = recordedConsole(colorMode);
    return { ...recorded, own: create(recorded.console, options) };
  }

  test.each(LINES)("a line in a task is what it was, behind the task: %o", async (...args) => {
    const { own, text } = setUp();
    await inTask(() => own.log(...args));
    expect(text()).toBe(`${PREFIX} ${written((console) => console.log(...args))}`);
  });

  test("colours of values, and the indentation of a group, stay", async () => {
    const { own, text } = setUp({}, true);
    await inTask(() => {
      own.group("order");
      own.info("paid", { order: 7 });
      own.groupEnd();
    });
    expect(text().split("\n")[1]).toBe(
      `  ${PREFIX} ${written((console) => console.log("paid", { order: 7 }), true)}`.trimEnd(),
    );
  });

  test.each(["text", "json"] as const)("outside a task all is byte for byte what it was (%s)", async (format) => {
    const { own, text } = setUp({ format });
    await inTask(() => undefined);
    const writeAll: Write = (console) => {
      for (const args of LINES) console.log(...args);
      for (const method of ["debug", "info", "warn", "error"] as const) console[method]("%s", method);
      console.log();
      console.table([{ order: 7 }]);
    };
    writeAll(own);
    expect(text()).toBe(written(writeAll));
  });

  test.each(LINES)("a name with a %% is written as it is: %o", async (...args) => {
    const { own, text } = setUp({ fields: () => ({ task_name: "100%s%%" }) });
    await inTask(() => own.log(...args));
    expect(text()).toBe(`[100%s%%] ${written((console) => console.log(...args))}`);
  });

  test("an empty line stays empty, and lines go where they went", async () => {
    const { own, text, errorText } = setUp();
    await inTask(() => {
      own.log();
      own.debug("one");
      own.warn("two");
      own.error("three");
    });
    expect(text()).toBe(`\n${PREFIX} one\n${PREFIX} two\n${PREFIX} three\n`);
    expect(errorText()).toBe(`${PREFIX} two\n${PREFIX} three\n`);
  });

  test("methods can be taken from it, and call themselves what the console's do", async () => {
    const { log, info } = setUp().own;
    const { own, text } = setUp();
    const { warn } = own;
    await inTask(() => warn("two"));
    expect([text(), log.name, info.name]).toEqual([`${PREFIX} two\n`, "log", "info"]);
  });

  test("with a span, a line of text has the trace's id, and a line of JSON all fields", async () => {
    const telemetry = startTelemetry();
    const [text, json] = [setUp(), setUp({ format: "json" })];
    await inTask(() => {
      text.own.log("charging");
      json.own.log("charging %s", "Ada", { order: 7 });
      json.own.error("refused");
      json.own.log();
    });
    const { traceId, spanId } = telemetry.span("process charge").spanContext();
    expect(text.text()).toBe(`${PREFIX.replace("]", ` trace_id=${traceId}]`)} charging\n`);
    const ids = { trace_id: traceId, span_id: spanId, trace_flags: "01" };
    const fields = {
      time: expect.stringMatching(/^\d{4}-.+Z$/),
      ...ids,
      task_id: "id-1",
      task_name: "charge",
      task_attempt: 2,
    };
    expect(json.lines().map((line) => JSON.parse(line))).toEqual([
      { level: "info", message: "charging Ada { order: 7 }", ...fields },
      { level: "error", message: "refused", ...fields },
      { level: "info", message: "", ...fields },
    ]);
  });

  test.each([
    ["text", '[dd.trace_id=7 note="a b"] charging'],
    ["json", '{"level":"info","message":"charging","time":0,"dd.trace_id":7,"note":"a b","more":{}}'],
  ] as const)("other fields take the place of these (%s)", async (format, line) => {
    const { own, lines } = setUp({
      format,
      fields: () => ({ time: undefined, "dd.trace_id": 7, note: "a b", more: {} }),
    });
    await inTask(() => own.info("charging"));
    expect(lines()).toEqual([line.replace('"time":0,', "")]);
  });

  test.each([
    [
      "throw",
      (): never => {
        throw new Error("no fields");
      },
    ],
    ["are no JSON", () => ({ size: 7n })],
  ])(
    "where the fields %s, the line is what it was and diag is told, by the same console too",
    async (_what, fields) => {
      const { own, lines } = setUp({ format: "json", fields });
      const tell = (...message: unknown[]): void => own.warn("diag:", message[1]);
      diag.setLogger({ verbose: tell, debug: tell, info: tell, warn: tell, error: tell });
      onTestFinished(() => diag.disable());
      await inTask(() => own.log("charging %s", "Ada"));
      expect(lines()).toEqual(["diag: naming the task of a line threw", "charging Ada"]);
    },
  );

  test("lines that taskLog or the fields write meanwhile call for no others", async () => {
    const { own, lines } = setUp({
      fields() {
        taskLog("asked");
        own.log("asked");
        return taskLogFields();
      },
    });
    const tasks = createTasks({ onLog: ({ message }) => own.log(`onLog: ${message}`) });
    const task = tasks.task("charge", () => {
      taskLog("charging");
      own.log("charged");
    });
    await tasks.addTask(task);
    await tasks.idle();
    const named = lines().map((line) => line.replace(/^\[.+task_name=.+\]|^\[charge .+\]/, "[charge]"));
    const asked = ["onLog: asked", "asked"];
    expect(named).toEqual(["asked", "[charge] onLog: charging", ...asked, "[charge] charged"]);
  });

  test.each([
    [{ format: "xml" }, 'format: expected "text" or "json", received a string of 3 characters'],
    [{ fields: {} }, "fields: expected a function, received an object"],
    [{ console: {} }, "console: expected an object with the methods of a console, received an object"],
    [{ json: true }, 'unknown option "json"; expected one of format, fields, console'],
  ])("refuses %o", (options, message) => {
    const call = (): unknown => create(console, options as TaskConsoleOptions);
    expect(call).toThrow(message);
    expect(call).toThrow(expect.toSatisfy(isTaskConfigError));
  });
});

describeTaskFields("taskConsole with lines of JSON", () => {
  const { console, lines } = recordedConsole();
  const own = taskConsole({ console, format: "json" });
  const parsed = (): Record<string, unknown>[] =>
    lines().map((line) => (line.startsWith("{") ? JSON.parse(line) : { message: line }));
  return {
    info: (message) => own.info(message),
    lines: async (count) => parsed().slice(0, count),
  } satisfies SetUpLogger;
});

describe("what Node writes by other methods of a patched console", () => {
  test("a table's frame stands on lines of its own, below the task", async () => {
    const { console, text } = recordedConsole();
    onTestFinished(patchConsole({ console }));
    await inTask(() => console.table([{ order: 7 }]));
    expect(text()).toBe(`${PREFIX}\n${written((plain) => plain.table([{ order: 7 }]))}`);
  });

  test("counts, failed assertions and traces name the task", async () => {
    const { console, lines } = recordedConsole();
    onTestFinished(patchConsole({ console }));
    await inTask(() => {
      console.count("order");
      console.assert(false, "no order");
      console.trace("here");
    });
    const named = lines().filter((line) => line.startsWith(PREFIX));
    expect(named.map((line) => line.slice(PREFIX.length))).toEqual([
      ...[" order: 1", " Assertion failed: no order", " Trace: here"],
    ]);
  });
});

describe("undoing", () => {
  const methodsOf = (console: Console): unknown[] => Object.values(Object.getOwnPropertyDescriptors(console));

  test("leaves the console's own methods, after the last of several calls, in any order", async () => {
    const { console, text } = recordedConsole();
    const before = methodsOf(console);
    const first = patchConsole({ console });
    const second = patchConsole({ console, format: "json" });
    first();
    first();
    await inTask(() => console.log("charging"));
    expect(JSON.parse(text())).toMatchObject({ message: "charging", task_id: "id-1" });
    second();
    expect(methodsOf(console)).toEqual(before);
  });

  test("leaves alone who wrapped a method meanwhile, and a later call names the task once", async () => {
    const { console, lines } = recordedConsole();
    const undo = patchConsole({ console });
    const { log } = console;
    console.log = (...args) => log("other:", ...args);
    undo();
    await inTask(() => console.log("one"));
    onTestFinished(patchConsole({ console }));
    await inTask(() => console.log("two"));
    expect(lines()).toEqual(["other: one", `other: ${PREFIX} two`]);
  });

  test("takes methods away from an object that inherited them", () => {
    const target: Console = Object.create(recordedConsole().console);
    patchConsole({ console: target })();
    expect(Object.keys(target)).toEqual([]);
  });
});

test("a line names its task once: by the last of those who patched, and by a taskConsole before all", async () => {
  const { console, lines } = recordedConsole();
  onTestFinished(patchConsole({ console, format: "json" }));
  onTestFinished(patchConsole({ console }));
  const own = taskConsole({ console, fields: () => ({ own: true }) });
  await inTask(() => {
    console.log("one");
    own.log("two");
  });
  expect(lines()).toEqual([`${PREFIX} one`, "[own=true] two"]);
});

test("two copies of the package name the task once", async () => {
  vi.resetModules();
  const copy = await import("otel-taskflow/console");
  expect(copy.patchConsole).not.toBe(patchConsole);
  const { console, lines } = recordedConsole();
  const own = copy.taskConsole({ console });
  onTestFinished(patchConsole({ console }));
  onTestFinished(copy.patchConsole({ console }));
  await inTask(() => {
    console.log("one");
    own.log("two");
  });
  expect(lines()).toEqual([`${PREFIX} one`, `${PREFIX} two`]);
});

test("a console that cannot be changed stays as it is, and diag is told", async () => {
  const warn = vi.fn();
  diag.setLogger({ verbose: warn, debug: warn, info: warn, warn, error: warn }, { suppressOverrideMessage: true });
  onTestFinished(() => diag.disable());
  warn.mockClear();
  const { console, text } = recordedConsole();
  const undo = patchConsole({ console: Object.freeze(console) });
  await inTask(() => console.log("charging"));
  undo();
  expect(text()).toBe("charging\n");
  expect(warn.mock.calls.map(([, message]) => message)).toContain("the console will not have its log replaced");
});
