import { getTaskContext, TaskManager, taskLog } from "otel-taskflow";

const tasks = new TaskManager({
  onLog: ({ message, context }) => console.log(`${context.funcName}, attempt ${context.attempt}: ${message}`),
});

const sendEmail = tasks.task({ name: "sendEmail", retries: 2, delay: 100 }, async (address: string) => {
  taskLog(`sending to ${address}`);
  await connect();
  taskLog("sent");
});

async function connect(): Promise<void> {
  const task = getTaskContext(); // undefined outside a task
  if (task?.attempt === 0) throw new Error("the mail server is down");
  taskLog(`connected for plan ${task?.tags.plan}`);
}

await tasks.addTask(sendEmail, ["ada@example.com"], { tags: { plan: "enterprise" } });
await tasks.shutdown();

// Output:
//
// sendEmail, attempt 0: sending to ada@example.com
// sendEmail, attempt 1: sending to ada@example.com
// sendEmail, attempt 1: connected for plan enterprise
// sendEmail, attempt 1: sent
