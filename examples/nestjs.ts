import { Injectable, Module, type OnApplicationShutdown } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { getTaskContext, TaskManager, taskLog } from "otel-taskflow";
import { TaskflowModule } from "otel-taskflow/nestjs";

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

class Mailer {
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
}

// A provider by factory needs none of TypeScript's decorator metadata. With it, `providers: [MailServer, Mailer]` is enough.
@Module({
  imports: [
    TaskflowModule.forRoot({
      onLog: ({ message, context }) => console.log(`${context.funcName}, attempt ${context.attempt}: ${message}`),
    }),
  ],
  providers: [
    MailServer,
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
  await app.close(); // lets tasks end, and then closes what they use
}

void main();

// Output:
//
// mailer.send, attempt 1: delivered to ada@example.com, plan pro
// the connection is closed
