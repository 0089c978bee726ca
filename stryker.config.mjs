// Texts that tell a reader something may be worded freely: no test pins them, and no mutant of one counts.
const TELLS = /^(warn|debug|safely|quietly|ask|atOnce|check[A-Z]\w*|\w+Error|AsyncResource|createContextKey)$/;

/** Ignores a text that is given to diag, to an error, or to a check for its error. */
const texts = {
  shouldIgnore(path) {
    if (!path.isStringLiteral() && !path.isTemplateLiteral()) return undefined;
    const call = path.findParent((one) => one.isCallExpression() || one.isNewExpression() || one.isFunction());
    return TELLS.test(call?.node.callee?.name) ? "a text for readers" : undefined;
  },
};

export const strykerPlugins = [{ kind: "Ignore", name: "texts", value: texts }];

export default {
  mutate: ["src/core/**/*.ts", "src/manager/**/*.ts"],
  testRunner: "vitest",
  plugins: ["@stryker-mutator/vitest-runner", "./stryker.config.mjs"],
  vitest: { configFile: "vitest.mutation.config.ts", related: false },
  ignorers: ["texts"],
  coverageAnalysis: "perTest",
  // what runs only while a file is loaded is constants, and each would need all tests
  ignoreStatic: true,
  concurrency: 2,
  // on top of the time that the tests took; a busy machine is no endless loop
  timeoutMS: 20_000,
  incremental: true,
  incrementalFile: ".stryker/incremental.json",
  tempDirName: ".stryker/sandbox",
  reporters: ["clear-text", "progress-append-only", "html", "json"],
  clearTextReporter: { allowColor: false, reportTests: false, skipFull: true },
  htmlReporter: { fileName: ".stryker/report.html" },
  jsonReporter: { fileName: ".stryker/report.json" },
};
