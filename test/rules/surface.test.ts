import { readFileSync } from "node:fs";
import ts from "typescript";
import { expect, test } from "vitest";
import { SCOPE_NAME, SCOPE_VERSION } from "../../src/core/semconv.js";
import { root } from "./source-tree.js";

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, string | { readonly import: { readonly default: string } }>>;
}

const manifest = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as Manifest;

// What applications may import, and what a release may not take away. A type is written `type X`.
const SURFACE = {
  ".": [
    "NonRetryableError",
    "TaskCancelledError",
    "TaskConfigError",
    "TaskLostError",
    "TaskManager",
    "TaskManagerClosedError",
    "TaskQueueFullError",
    "TaskStoreError",
    "TaskTimeoutError",
    "UnknownTaskError",
    "carryAttempt",
    "continueAttempt",
    "enqueueTask",
    "getTaskContext",
    "isNonRetryableError",
    "isTaskCancelledError",
    "isTaskConfigError",
    "isTaskLostError",
    "isTaskManagerClosedError",
    "isTaskQueueFullError",
    "isTaskStoreError",
    "isTaskTimeoutError",
    "isUnknownTaskError",
    "memoryEngine",
    "openAttempt",
    "runAttempt",
    "setTaskAttributes",
    "taskEvent",
    "taskLog",
    "taskLogFields",
    "type AddTaskOptions",
    "type AddTaskRest",
    "type AttemptInfo",
    "type Carrier",
    "type ContinueInfo",
    "type Delivery",
    "type EngineCapabilities",
    "type EngineHost",
    "type EnqueueOptions",
    "type MemoryEngineOptions",
    "type NoticeListener",
    "type OpenAttempt",
    "type OpenEngine",
    "type Settlement",
    "type ShutdownOptions",
    "type ShutdownReport",
    "type StoreAnswer",
    "type StoreEnd",
    "type StoredTask",
    "type TaskBaggage",
    "type TaskContext",
    "type TaskDecorator",
    "type TaskEngine",
    "type TaskErrorCode",
    "type TaskEvent",
    "type TaskFunction",
    "type TaskHook",
    "type TaskInfo",
    "type TaskLogLevel",
    "type TaskLogLine",
    "type TaskLogMode",
    "type TaskLogRecord",
    "type TaskLoggerProvider",
    "type TaskManagerOptions",
    "type TaskMessage",
    "type TaskNotice",
    "type TaskOptions",
    "type TaskOrigin",
    "type TaskOutcome",
    "type TaskRelation",
    "type TaskScope",
    "type TaskStoreErrorOptions",
    "type TaskTags",
    "type TaskTelemetryOptions",
    "type UnfinishedTask",
  ],
  "./sdk": [
    "SpanEventBridge",
    "TaskLogRecordProcessor",
    "TaskSpanProcessor",
    "TaskTreeExporter",
    "keepRetries",
    "type BridgedLogRecord",
    "type TaskLogRecordTarget",
    "type TaskSampler",
    "type TaskSpan",
    "type TaskTreeExportResult",
    "type TaskTreeExporterOptions",
    "type TaskTreeStream",
    "type TreeReadableSpan",
  ],
  "./engine": [
    "copyAsJson",
    "overStore",
    "type Delivery",
    "type EngineCapabilities",
    "type EngineHost",
    "type OpenEngine",
    "type Settlement",
    "type StoreAnswer",
    "type StoreEnd",
    "type StoredTask",
    "type TaskEngine",
    "type TaskMessage",
    "type TaskOrigin",
  ],
  "./testing/engine-contract": [
    "engineContract",
    "type ContractTelemetry",
    "type ContractTest",
    "type EngineContractOptions",
    "type EngineStore",
    "type EngineWorld",
    "type StoreOffer",
    "type StoredState",
  ],
  "./console": ["patchConsole", "taskConsole", "taskLogPrefix", "type TaskConsoleOptions"],
  "./bullmq": [
    "addFlow",
    "addJob",
    "addJobs",
    "bullmqEngine",
    "carrierOf",
    "type BullmqAddedJob",
    "type BullmqBulkItem",
    "type BullmqBulkJob",
    "type BullmqEngineOptions",
    "type BullmqFlow",
    "type BullmqFlowProducer",
    "type BullmqJob",
    "type BullmqJobOptions",
    "type BullmqJobQueue",
    "type BullmqProcessor",
    "type BullmqQueue",
    "type BullmqQueueClass",
    "type BullmqStoredJob",
    "type BullmqTaskOptions",
    "type BullmqWorker",
    "type BullmqWorkerClass",
    "type BullmqWorkerJob",
    "withCarrier",
    "withTask",
    "withTasks",
  ],
  "./instrumentation": [
    "TaskInstrumentation",
    "type DoorOptions",
    "type JobView",
    "type TaskInstrumentationConfig",
    "withTasks",
  ],
  "./pg-boss": [
    "carrierOf",
    "inTask",
    "pgBossEngine",
    "sendJob",
    "type PgBossDoorOptions",
    "type PgBossEngineOptions",
    "type SendJobOptions",
    "type TaskJob",
    "withCarrier",
    "withTasks",
    "workTask",
  ],
  "./graphile-worker": [
    "addJob",
    "addJobs",
    "carrierOf",
    "graphileEngine",
    "type GraphileBulkSpec",
    "type GraphileEngineOptions",
    "type GraphileJob",
    "type GraphileJobAdder",
    "type GraphileJobOptions",
    "type GraphileJobSpec",
    "type GraphileJobsAdder",
    "type GraphilePool",
    "type GraphileRunner",
    "type GraphileTaskHelpers",
    "type GraphileTaskOptions",
    "type GraphileUtils",
    "withCarrier",
    "withTask",
    "withTasks",
  ],
  "./express": ["taskflow", "type TaskMiddleware"],
  "./fastify": ["taskflow", "type TaskflowOptions"],
  "./hono": ["taskflow"],
  "./nestjs": [
    "TaskLogger",
    "TaskflowModule",
    "type TaskflowModuleAsyncOptions",
    "type TaskflowModuleOptions",
    "type TaskflowOptions",
  ],
};

test("telemetry says the package's own name and version", () => {
  expect({ name: SCOPE_NAME, version: SCOPE_VERSION }).toEqual({ name: manifest.name, version: manifest.version });
});

// the compiler reads the whole program, which takes its time on a busy machine
test("every subpath exports these names and no others", () => {
  expect(exportedNames()).toEqual(SURFACE);
});

function exportedNames(): Record<string, string[]> {
  const subpaths = Object.entries(manifest.exports).flatMap(([subpath, target]) =>
    typeof target === "string" ? [] : { subpath, file: root + sourceOf(target.import.default) },
  );
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, root);
  const program = ts.createProgram(
    subpaths.map(({ file }) => file),
    options,
  );
  const named = subpaths.map(({ subpath, file }): [string, string[]] => [subpath, namesIn(program, file)]);
  return Object.fromEntries(named);
}

function sourceOf(built: string): string {
  return built.replace("./dist/esm/", "src/").replace(/\.js$/, ".ts");
}

function namesIn(program: ts.Program, file: string): string[] {
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(file);
  const module = source && checker.getSymbolAtLocation(source);
  const exported = module === undefined ? [] : checker.getExportsOfModule(module);
  return exported.map((symbol) => (isValue(checker, symbol) ? symbol.name : `type ${symbol.name}`)).sort();
}

function isValue(checker: ts.TypeChecker, symbol: ts.Symbol): boolean {
  const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  return (target.flags & ts.SymbolFlags.Value) !== 0;
}
