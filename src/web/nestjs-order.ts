import type { ModulesContainer } from "@nestjs/core";

/**
 * Has the `onModuleInit` of a module called before that of any other: Nest goes from the most distant module to the
 * root. To be called before the application calls its first hook, as when a provider is made.
 */
export function initFirst(modules: ModulesContainer, module: object): void {
  place(modules, module, Number.POSITIVE_INFINITY);
}

/**
 * Has the `onApplicationShutdown` of a module called before that of any other. Nest goes back then from the root to the
 * most distant module, but for Nest 10, which goes the same way as at the start.
 */
export function drainFirst(modules: ModulesContainer, module: object): void {
  // from Nest 11 on, global modules are the most distant, and one of its own always is
  const isReversed = [...modules.values()].some(({ distance }) => distance === Number.MAX_VALUE);
  place(modules, module, isReversed ? -1 : Number.POSITIVE_INFINITY);
}

function place(modules: ModulesContainer, module: object, distance: number): void {
  for (const own of modules.values()) if (own.metatype === module) own.distance = distance;
}
