/**
 * Every attribute, event, span and metric name this library emits.
 *
 * `task.*` is this library's own namespace; everything else follows a published
 * convention, named beside it.
 */

/** Instrumentation scope name, on every span, log record and metric. */
export const SCOPE_NAME = "otel-taskflow";
/** Instrumentation scope version: the package's own. */
export const SCOPE_VERSION = "0.1.0";
/**
 * The version of OpenTelemetry's conventions that names which are not this library's own are taken from.
 *
 * @see https://opentelemetry.io/docs/specs/otel/schemas/
 */
export const SCHEMA_URL = "https://opentelemetry.io/schemas/1.45.0";

/** What this library's own names begin with. */
export const TASK_PREFIX = "task.";
export const ATTR_TASK_ID = "task.id";
export const ATTR_TASK_NAME = "task.name";
export const ATTR_TASK_ENGINE = "task.engine";
export const ATTR_TASK_ATTEMPT = "task.attempt";
export const ATTR_TASK_MAX_ATTEMPTS = "task.max_attempts";
export const ATTR_TASK_REDELIVERED = "task.redelivered";
export const ATTR_TASK_PARENT_ID = "task.parent.id";
export const ATTR_TASK_WAIT_DURATION = "task.wait.duration";
export const ATTR_TASK_OUTCOME = "task.outcome";
export const ATTR_TASK_RETRY_DELAY = "task.retry.delay";
/** On a run that a schedule has added: `schedule`. */
export const ATTR_TASK_TRIGGER = "task.trigger";
/** On a link: `enqueue`, `previous_attempt`, `previous_run` or `surrounding`. */
export const ATTR_TASK_LINK = "task.link";
export const ATTR_TASK_LOG_LEVEL = "task.log.level";
/** Log lines left out of an attempt span, so that the earliest ones and the exception fit. */
export const ATTR_TASK_LOG_DROPPED = "task.log.dropped";
/** Fields of one log line that were left out of it, or cut, so that the line stays small. */
export const ATTR_TASK_LOG_TRUNCATED = "task.log.truncated";
/** Prefix of one attribute, and of one baggage entry, for each tag. */
export const TASK_TAG_PREFIX = "task.tag.";

export const METRIC_TASK_ENQUEUED = "task.enqueued";
export const METRIC_TASK_FINISHED = "task.finished";
export const METRIC_TASK_ATTEMPT_DURATION = "task.attempt.duration";
export const METRIC_TASK_ATTEMPT_ACTIVE = "task.attempt.active";
export const METRIC_TASK_WAIT_DURATION = "task.wait.duration";

/** @see https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/ */
export const METRIC_MESSAGING_PROCESS_DURATION = "messaging.process.duration";
export const METRIC_MESSAGING_OPERATION_DURATION = "messaging.client.operation.duration";
export const METRIC_MESSAGING_SENT = "messaging.client.sent.messages";
export const METRIC_MESSAGING_CONSUMED = "messaging.client.consumed.messages";

/** @see https://opentelemetry.io/docs/specs/semconv/registry/attributes/server/ */
export const ATTR_SERVER_ADDRESS = "server.address";
export const ATTR_SERVER_PORT = "server.port";
/** @see https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/ */
export const ATTR_ERROR_TYPE = "error.type";
/** @see https://opentelemetry.io/docs/specs/semconv/registry/attributes/code/ */
export const ATTR_CODE_FUNCTION_NAME = "code.function.name";

/** @see https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/ */
export const ATTR_MESSAGING_SYSTEM = "messaging.system";
export const ATTR_MESSAGING_OPERATION_NAME = "messaging.operation.name";
export const ATTR_MESSAGING_OPERATION_TYPE = "messaging.operation.type";
export const ATTR_MESSAGING_DESTINATION_NAME = "messaging.destination.name";
export const ATTR_MESSAGING_MESSAGE_ID = "messaging.message.id";

/** @see https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-spans/ */
export const EVENT_EXCEPTION = "exception";
/** @see https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-logs/ */
export const EVENT_MESSAGING_PROCESS_EXCEPTION = "messaging.process.exception";
export const EVENT_MESSAGING_SEND_EXCEPTION = "messaging.send.exception";
/** The same where no broker is involved. */
export const EVENT_PROCESS_EXCEPTION = "task.process.exception";
export const EVENT_ENQUEUE_EXCEPTION = "task.enqueue.exception";
export const EVENT_CONTINUE_EXCEPTION = "task.continue.exception";
export const ATTR_EXCEPTION_TYPE = "exception.type";
export const ATTR_EXCEPTION_MESSAGE = "exception.message";
export const ATTR_EXCEPTION_STACKTRACE = "exception.stacktrace";

/** Span names are `{operation} {task.name}`; also the values of `messaging.operation.name`. */
export const OPERATION_ENQUEUE = "enqueue";
export const OPERATION_PROCESS = "process";
/** Span names only. */
export const OPERATION_CONTINUE = "continue";
export const OPERATION_BATCH = "batch";
/** Values of `messaging.operation.type`. */
export const OPERATION_TYPE_SEND = "send";
export const OPERATION_TYPE_PROCESS = "process";
/** Values of `task.link`. */
export const LINK_ENQUEUE = "enqueue";
export const LINK_PREVIOUS_ATTEMPT = "previous_attempt";
export const LINK_PREVIOUS_RUN = "previous_run";
export const LINK_SURROUNDING = "surrounding";
/** Value of `task.trigger`. */
export const TRIGGER_SCHEDULE = "schedule";

/** `error.type` of anything thrown that is not an Error, or that hides its name. */
export const ERROR_TYPE_OTHER = "_OTHER";

// Read by TaskTreeExporter from HTTP instrumentations' spans, never emitted here.
/** @see https://opentelemetry.io/docs/specs/semconv/http/http-spans/ */
export const ATTR_HTTP_RESPONSE_STATUS_CODE = "http.response.status_code";
/** Its name before the conventions were stable. */
export const ATTR_HTTP_STATUS_CODE = "http.status_code";
