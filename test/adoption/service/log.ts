import { type Logger, pino } from "pino";

export const log: Logger = pino({ base: null });
