// An ES module that loads its libraries before the set-up of OpenTelemetry; with WRAP, it wraps one of them by
// itself, and with STAYS, it does not end at once.
import "graphile-worker";
import * as pgBoss from "pg-boss";
import "./otel.mjs";
import { withTasks } from "otel-taskflow/pg-boss";

if (process.env.WRAP) withTasks(pgBoss);
if (process.env.STAYS) setTimeout(() => process.stderr.write("ends\n"), 7_000);
