import "reflect-metadata";
import { type DynamicModule, type INestApplicationContext, Logger, Module, type Type } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { onTestFinished } from "vitest";

/** A module with these parts, as a class of its own. */
export function moduleOf(parts: Parameters<typeof Module>[0], name = "AppModule"): Type {
  const { [name]: named } = { [name]: class {} };
  if (named === undefined) throw new Error(`no class is called ${name}`);
  Module(parts)(named);
  return named;
}

/** Says what the constructor of a class takes, as TypeScript's decorators do. */
export function injects<T extends Type>(target: T, ...tokens: readonly unknown[]): T {
  Reflect.defineMetadata("design:paramtypes", tokens, target);
  return target;
}

/** Calls a decorator of a method. */
export function decorate(target: Type, method: string, decorator: MethodDecorator): void {
  const descriptor = Object.getOwnPropertyDescriptor(target.prototype, method);
  if (descriptor === undefined) throw new Error(`${target.name} has no ${method}`);
  decorator(target.prototype, method, descriptor);
}

/** A started application of these modules and providers, which is closed with the test. */
export async function startApplication(
  imports: (Type | DynamicModule)[],
  providers: NonNullable<Parameters<typeof Module>[0]["providers"]> = [],
): Promise<INestApplicationContext> {
  const app = await NestFactory.createApplicationContext(moduleOf({ imports, providers }), {
    logger: false,
    abortOnError: false,
  });
  onTestFinished(async () => await app.close());
  return app;
}

/** What the application's logger is told from now on, with the message of an error. */
export function collectLogs(): string[] {
  const lines: string[] = [];
  const collect = (message: unknown): void => {
    lines.push(message instanceof Error ? message.message : String(message));
  };
  Logger.overrideLogger({ log: () => {}, warn: collect, error: collect });
  onTestFinished(() => Logger.overrideLogger(false));
  return lines;
}
