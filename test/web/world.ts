import type { TaskManager, TaskScope } from "otel-taskflow";

/** What a handler of the contract answers; a stream is sent piece by piece. */
export interface Answer {
  readonly status?: number;
  readonly body: string | AsyncIterable<string>;
}

/** One handler, written once for every framework. */
export type Handler = (tasks: TaskScope) => Promise<Answer>;

/** A framework with this library's request-scoped tasks, as an application has it. */
export interface WebWorld {
  /** Such as `express 4`. */
  readonly title: string;
  /** The framework says that a handler threw, whatever the status of the answer. */
  readonly tellsThrown: boolean;
  /** An error that the framework answers with this status. */
  httpError(status: number): Error;
  /** Listens on a free port of 127.0.0.1; handlers by their paths. */
  serve(manager: TaskManager, handlers: Readonly<Record<string, Handler>>): Promise<WebServer>;
}

export interface WebServer {
  readonly url: string;
  /** Takes no new requests and resolves when the others have been answered. */
  close(): Promise<void>;
  /** Ends every connection, whatever is under way. */
  cut(): void;
}
