import { getTaskContext, TaskManager, taskLog } from "otel-taskflow";
import { postEmail } from "./accounts-client.js";
import { fullReport, summaryReport } from "./report.js";

// One email is meant to fail, and its trace says so: no line on stderr as well.
export const tasks = new TaskManager({ onNotice: false });

/** Up to three attempts: at once, after 200 ms, and after another 400 ms. */
export const generateReport = tasks.task(
  { name: "generateReport", retries: 2, delay: 200, backoff: 2 },
  async (userId: number) => {
    const plan = getTaskContext()?.tags.plan ?? "free";
    taskLog("Generating report", { userId, plan });
    const report = plan === "enterprise" ? await fullReport(userId) : await summaryReport(userId);
    taskLog("Report ready", report);
  },
);

export const sendEmail = tasks.task(
  { name: "sendEmail", retries: 2, delay: 200 },
  async (userId: number, subject: string) => {
    taskLog("Sending email", { subject });
    await postEmail(userId, subject);
  },
);
