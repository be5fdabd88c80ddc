// The end of a run: which engines it did not test, and the count on a line of its own. OUTERLOOP_REQUIRE (names, separated
// by commas) turns an engine that is missing, or that there is no such of, into a failed run.
const { OPTIONAL_ENGINES, required, skippedEngines } = require('./support/optional-engines');

const BUILT_IN = ['reference', 'tfjs:cpu', 'tfjs:wasm'];

module.exports = class {
  constructor() {
    const missing = Object.keys(OPTIONAL_ENGINES).filter((name) => !OPTIONAL_ENGINES[name]());
    const known = [...BUILT_IN, ...Object.keys(OPTIONAL_ENGINES)];
    this.skipped = skippedEngines();
    this.failed = required().filter((name) => missing.includes(name) || !known.includes(name));
  }

  onRunComplete(_contexts, results) {
    if (this.skipped.length > 0) console.log(`\nengines not tested here: ${this.skipped.join(', ')}`);
    if (this.failed.length > 0) console.log(`\nengines required but missing: ${this.failed.join(', ')}`);
    console.log(`${results.numPassedTests} passed, ${results.numFailedTests} failed`);
  }

  getLastError() {
    return this.failed.length > 0 ? new Error(`required engines are missing: ${this.failed.join(', ')}`) : undefined;
  }
};
