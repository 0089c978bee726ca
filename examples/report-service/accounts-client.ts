import { getTaskContext, NonRetryableError } from "otel-taskflow";

/** What the accounts service adds up for a user. */
export type Section = "orders" | "invoices";

export async function fetchTotal(userId: number, section: Section): Promise<number> {
  const { total } = (await call("GET", `/users/${userId}/${section}`)) as { total: number };
  return total;
}

export async function postEmail(userId: number, subject: string): Promise<void> {
  await call("POST", `/users/${userId}/emails`, { subject });
}

async function call(method: string, path: string, body?: object): Promise<unknown> {
  const task = getTaskContext();
  const headers = new Headers();
  if (body !== undefined) headers.set("content-type", "application/json");
  // The same for every attempt of a task, so that the other side can tell a repetition.
  if (task !== undefined) headers.set("idempotency-key", task.taskId);
  const response = await fetch(new URL(path, process.env.ACCOUNTS_URL), {
    method,
    headers,
    body: body === undefined ? null : JSON.stringify(body),
    signal: task?.signal ?? null,
  });
  const answer = (await response.json()) as { message?: string };
  if (response.ok) return answer;
  const message = `${method} ${path} answered ${response.status}: ${answer.message}`;
  // What is refused now will be refused again; an outage passes.
  throw response.status < 500 ? new NonRetryableError(message) : new Error(message);
}
