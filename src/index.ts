export { runAttempt } from "./core/attempt.js";
export type { TaskOrigin } from "./core/carrier.js";
export { type ContinueInfo, carryAttempt, continueAttempt } from "./core/continue.js";
export { type EnqueueOptions, enqueueTask } from "./core/enqueue.js";
export {
  isNonRetryableError,
  isTaskCancelledError,
  isTaskConfigError,
  isTaskLostError,
  isTaskManagerClosedError,
  isTaskQueueFullError,
  isTaskStoreError,
  isTaskTimeoutError,
  isUnknownTaskError,
  NonRetryableError,
  TaskCancelledError,
  TaskConfigError,
  type TaskErrorCode,
  TaskLostError,
  TaskManagerClosedError,
  TaskQueueFullError,
  TaskStoreError,
  type TaskStoreErrorOptions,
  TaskTimeoutError,
  UnknownTaskError,
} from "./core/errors.js";
export { getTaskContext } from "./core/live-attempt.js";
export { setTaskAttributes, taskEvent, taskLog, taskLogFields } from "./core/log.js";
export { type OpenAttempt, openAttempt } from "./core/open-attempt.js";
export type {
  AttemptInfo,
  Carrier,
  TaskBaggage,
  TaskContext,
  TaskInfo,
  TaskLoggerProvider,
  TaskLogLevel,
  TaskLogLine,
  TaskLogMode,
  TaskLogRecord,
  TaskOutcome,
  TaskRelation,
  TaskTags,
  TaskTelemetryOptions,
} from "./core/types.js";
export type {
  Delivery,
  EngineCapabilities,
  EngineHost,
  OpenEngine,
  Settlement,
  StoreAnswer,
  StoredTask,
  StoreEnd,
  TaskEngine,
  TaskMessage,
} from "./engines/engine.js";
export { type MemoryEngineOptions, memoryEngine } from "./engines/memory.js";
export type { TaskFunction } from "./manager/definition.js";
export type { UnfinishedTask } from "./manager/host.js";
export type {
  AddTaskOptions,
  ShutdownOptions,
  TaskEvent,
  TaskHook,
  TaskManagerOptions,
  TaskOptions,
} from "./manager/options.js";
export { type ShutdownReport, type TaskDecorator, TaskManager } from "./manager/task-manager.js";
export type { AddTaskRest, TaskScope } from "./manager/task-scope.js";
export type { NoticeListener, TaskNotice } from "./manager/voice.js";
