// An ES module that loads its libraries before the set-up of OpenTelemetry; with WRAP, it wraps one of them by itself.
import "graphile-worker";
import * as pgBoss from "pg-boss";
import "./otel.mjs";
import { withTasks } from "otel-taskflow/pg-boss";

if (process.env.WRAP) withTasks(pgBoss);
