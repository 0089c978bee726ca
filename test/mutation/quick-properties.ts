import { configureGlobal } from "fast-check";

// A mutant needs one value that fails, and neither many that pass nor the smallest one.
configureGlobal({ numRuns: 30, endOnFailure: true });
