import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import base from "./vitest.config.js";

// The tests of `npm run test:core` that run core and manager; those that read the sources would see all mutants at once.
const TESTS = ["test/{core,manager,properties}/**/*.test.ts", "test/engines/{memory,contract-memory}.test.ts"];
const MORE = ["test/seed.test.ts", "test/logs/{on-log,records}.test.ts", "test/sdk/processors.test.ts"];
const HOSTILE = ["test/hostile/{callbacks,propagation,sdk,settling}.test.ts"];
/** Tests that need modules of their own, because they or their mutants leave timers behind. */
const ALONE = ["test/core/isolation.test.ts", "test/manager/{fake-timers,own-engine,unreliable-store}.test.ts"];
const SLOW = /\/properties\/|engines\/memory|isolation/;

/** Runs first what found a mutant last, because the next mutant is its neighbour; what takes seconds comes last. */
class LikelyFirst extends BaseSequencer {
  static readonly #found: string[] = [];

  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    for (const file of files) if (this.#failed(file)) LikelyFirst.#found.unshift(file.moduleId);
    const recent = [...new Set(LikelyFirst.#found)].slice(0, 20);
    LikelyFirst.#found.splice(0, Number.POSITIVE_INFINITY, ...recent);
    const rank = ({ moduleId }: TestSpecification): number => {
      const place = recent.indexOf(moduleId);
      return place >= 0 ? place : SLOW.test(moduleId) ? 200 : 100;
    };
    return files.toSorted((a, b) => rank(a) - rank(b));
  }

  #failed({ project, moduleId }: TestSpecification): boolean {
    const path = moduleId.slice(this.ctx.config.root.length + 1);
    return this.ctx.cache.getFileTestResults(`${project.name}:${path}`)?.failed === true;
  }
}

const shared = { ...base.test, globalSetup: [], setupFiles: ["test/mutation/quick-properties.ts"] };

export default defineConfig({
  resolve: base.resolve,
  test: {
    sequence: { sequencer: LikelyFirst },
    projects: [
      {
        resolve: base.resolve,
        test: {
          ...shared,
          name: "together",
          include: [...TESTS, ...MORE, ...HOSTILE],
          exclude: ALONE,
          isolate: false,
          maxWorkers: 1,
        },
      },
      {
        resolve: base.resolve,
        test: { ...shared, name: "alone", include: ALONE, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
