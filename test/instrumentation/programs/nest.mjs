// The NestJS application as ES modules.
import * as nestBullmq from "@nestjs/bullmq";
import * as nestCommon from "@nestjs/common";
import * as nestCore from "@nestjs/core";
import * as bullmq from "bullmq";
import * as nestCls from "nestjs-cls";
import { getTaskContext } from "otel-taskflow";
import { serve } from "./nest-serve.cjs";

await serve({ nestCommon, nestCore, nestBullmq, nestCls, bullmq, getTaskContext });
