// The service that wraps its own copy of BullMQ, as a bundle has to.
const bullmq = require("bullmq");
const { getTaskContext } = require("otel-taskflow");
const { withTasks } = require("otel-taskflow/bullmq");
const { serve } = require("./serve.cjs");

const { Queue, Worker } = withTasks(bullmq);
serve({ Queue, Worker, getTaskContext });
