import { Injectable, Module, type OnApplicationShutdown } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { getTaskContext, TaskManager, taskLog } from "otel-taskflow";

@Injectable()
class MailServer implements OnApplicationShutdown {
  async deliver(to: string): Promise<void> {
    const task = getTaskContext(); // any provider, however deep, knows what task it works for
    if (task?.attempt === 0) throw new Error("the mail server is down");
    taskLog(`delivered to ${to}, plan ${task?.tags.plan}`);
  }

  onApplicationShutdown(): void {
    console.log("the connection is closed");
  }
}

class Mailer implements OnApplicationShutdown {
  readonly #tasks: TaskManager;
  readonly #server: MailServer;
  /** A plain call sends now; `addTask(mailer.send, …)` in the background. */
  readonly send: (to: string) => Promise<void>;

  constructor(tasks: TaskManager, server: MailServer) {
    this.#tasks = tasks;
    this.#server = server;
    this.send = tasks.task({ name: "mailer.send", retries: 2, delay: 50 }, async (to: string) => {
      await this.#server.deliver(to);
    });
  }

  async sendLater(to: string, plan: string): Promise<string> {
    return await this.#tasks.addTask(this.send, [to], { tags: { plan } });
  }

  // No request adds a task any more, and what this provider depends on closes after it.
  async onApplicationShutdown(): Promise<void> {
    const { completed } = await this.#tasks.shutdown();
    console.log(`${completed} task has ended`);
  }
}

function createTasks(): TaskManager {
  return new TaskManager({
    onLog: ({ message, context }) => console.log(`${context.funcName}, attempt ${context.attempt}: ${message}`),
  });
}

// Providers by factory need none of TypeScript's decorator metadata. With it, `constructor(tasks: TaskManager)` is enough.
@Module({
  providers: [
    MailServer,
    { provide: TaskManager, useFactory: createTasks },
    {
      provide: Mailer,
      useFactory: (tasks: TaskManager, server: MailServer) => new Mailer(tasks, server),
      inject: [TaskManager, MailServer],
    },
  ],
})
class AppModule {}

// A function, because Nest's own builder makes CommonJS of it, where nothing can be awaited at the top level.
async function main(): Promise<void> {
  const app = await NestFactory.createApplicationContext(AppModule, { logger: ["error", "warn"] });
  await app.get(Mailer).sendLater("ada@example.com", "pro");
  await app.close();
}

void main();

// Output:
//
// mailer.send, attempt 1: delivered to ada@example.com, plan pro
// 1 task has ended
// the connection is closed
