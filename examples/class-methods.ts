import { setTimeout as wait } from "node:timers/promises";
import { getTaskContext, TaskManager, taskLog } from "otel-taskflow";

const tasks = new TaskManager({
  onLog: ({ message, context }) => console.log(`${context.funcName}, attempt ${context.attempt}: ${message}`),
});

class Mailer {
  readonly #from: string;
  #sent = 0;

  constructor(from: string) {
    this.#from = from;
  }

  // With decorators: the method of each new instance is a task, bound to the instance.
  @tasks.method({ name: "mailer.send", retries: 1, delay: 50 })
  async send(to: string): Promise<void> {
    await this.#connect();
    this.#sent += 1;
    taskLog(`mail ${this.#sent} from ${this.#from} to ${to}`);
  }

  // Without: a field that holds a task does the same.
  readonly sendLater = tasks.task({ name: "mailer.sendLater", retries: 1, delay: 50 }, async (to: string) => {
    await wait(10);
    await this.send(to); // a plain call, inside the task that is running
  });

  async #connect(): Promise<void> {
    if (getTaskContext()?.attempt === 0) throw new Error("the mail server is down");
  }
}

const mailer = new Mailer("shop@example.com");
await tasks.addTask(mailer.send, ["ada@example.com"]);
await tasks.addTask(mailer.sendLater, ["bob@example.com"]);
await tasks.shutdown();

// Output:
//
// mailer.send, attempt 1: mail 1 from shop@example.com to ada@example.com
// mailer.sendLater, attempt 1: mail 2 from shop@example.com to bob@example.com
