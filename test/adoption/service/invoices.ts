// A module of NestJS beside Express, which has a queue, a processor and a cron.
import { BullModule, InjectQueue, OnWorkerEvent, Processor, WorkerHost } from "@nestjs/bullmq";
import { Inject, Injectable, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { Cron, CronExpression, ScheduleModule } from "@nestjs/schedule";
import type { Job, Queue } from "bullmq";
import { tellPartner } from "./partner.js";
import { bullmq } from "./queues.js";
import { reach } from "./steps.js";

const QUEUE = "invoices";

/** A queue of Nest's. */
export interface Invoices {
  /** Has an order invoiced. */
  make(order: number): Promise<void>;
  stop(): Promise<void>;
}

@Injectable()
class Ledger {
  async book(job: Job): Promise<string> {
    await tellPartner(job.name, job.id);
    return "booked";
  }
}

@Processor(QUEUE, { concurrency: 2 })
class InvoiceProcessor extends WorkerHost {
  readonly #ledger: Ledger;

  constructor(@Inject(Ledger) ledger: Ledger) {
    super();
    this.#ledger = ledger;
  }

  async process(job: Job): Promise<string> {
    reach(job.name, job.id, "handler");
    return await this.#ledger.book(job);
  }

  @OnWorkerEvent("completed")
  onCompleted(job: Job): void {
    reach(job.name, job.id, "listener");
  }
}

@Injectable()
class Invoicing {
  readonly #queue: Queue;

  constructor(@InjectQueue(QUEUE) queue: Queue) {
    this.#queue = queue;
  }

  async make(order: number): Promise<void> {
    const retried = { attempts: 2, backoff: { type: "fixed", delay: 20 } };
    await this.#queue.add("invoice", { order }, { jobId: `invoice-${order}`, ...retried });
  }
}

@Injectable()
class Reminders {
  readonly #queue: Queue;
  #isReminded = false;

  constructor(@InjectQueue(QUEUE) queue: Queue) {
    this.#queue = queue;
  }

  /** Adds one reminder, however long the service runs. */
  @Cron(CronExpression.EVERY_SECOND)
  async remind(): Promise<void> {
    if (this.#isReminded) return;
    this.#isReminded = true;
    await this.#queue.add("reminder", { list: "unpaid" }, { jobId: "reminder-1" });
  }
}

@Module({
  imports: [BullModule.forRoot(bullmq), BullModule.registerQueue({ name: QUEUE }), ScheduleModule.forRoot()],
  providers: [Ledger, InvoiceProcessor, Invoicing, Reminders],
})
class InvoicesModule {}

export async function startInvoices(): Promise<Invoices> {
  const app = await NestFactory.createApplicationContext(InvoicesModule, { logger: ["error", "warn"] });
  return { make: (order) => app.get(Invoicing).make(order), stop: () => app.close() };
}
