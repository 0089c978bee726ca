import { trace } from "@opentelemetry/api";
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { getTaskContext, TaskManager } from "otel-taskflow";

// Run by tsx, because vitest compiles no decorators. Prints what method.test.ts asks for.
const exporter = new InMemorySpanExporter();
trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }));
const tasks = new TaskManager();
const seen: unknown[] = [];

class Mailer {
  readonly #from: string;

  constructor(from: string) {
    this.#from = from;
  }

  @tasks.method({ name: "mailer.send", retries: 1 })
  async send(to: string, copies = 1): Promise<string> {
    const task = getTaskContext();
    seen.push([task?.funcName, task?.attempt, this.#from, to, copies]);
    if (task?.attempt === 0) throw new Error("not yet");
    return to;
  }

  @tasks.method()
  async ping(): Promise<void> {
    seen.push([getTaskContext()?.funcName]);
  }

  @tasks.method({ name: "mailer.sweep" })
  static sweep(): void {
    seen.push(["static", getTaskContext()?.funcName]);
  }
}

class LoudMailer extends Mailer {
  override async ping(): Promise<void> {
    await super.ping();
    seen.push(["loud", getTaskContext()?.funcName]);
  }
}

/** What the compiler has to say; never called. */
export function misuse(mailer: Mailer): object {
  // @ts-expect-error: the argument has another type
  void tasks.addTask(mailer.send, [7]);
  // @ts-expect-error: an argument is required
  void tasks.addTask(mailer.send);
  return class {
    // @ts-expect-error: a field is no method
    @tasks.method() field = 1;
  };
}

const mailer = new LoudMailer("shop");
await tasks.addTask(mailer.send, ["ada"]);
await tasks.idle();
await tasks.addTask(mailer.ping);
await tasks.idle();
await tasks.addTask(Mailer.sweep);
await tasks.idle();
const plain = await mailer.send("eve", 2);
const spans = exporter.getFinishedSpans().filter(({ name }) => name === "process mailer.send");
const names = spans.map(({ attributes }) => attributes["code.function.name"]);
console.log(JSON.stringify({ seen, plain, names, keys: Object.keys(mailer) }));
await tasks.shutdown();
