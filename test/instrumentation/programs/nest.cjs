// The same NestJS application in CommonJS, as Nest's own builder makes it.
const nestBullmq = require("@nestjs/bullmq");
const nestCommon = require("@nestjs/common");
const nestCore = require("@nestjs/core");
const bullmq = require("bullmq");
const nestCls = require("nestjs-cls");
const { getTaskContext } = require("otel-taskflow");
const { serve } = require("./nest-serve.cjs");

serve({ nestCommon, nestCore, nestBullmq, nestCls, bullmq, getTaskContext });
