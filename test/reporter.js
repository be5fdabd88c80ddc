// The end of a run: which engines, data sets, browser and TensorBoard it did not test, and the count on a line of its own. OUTERLOOP_REQUIRE (names, separated
// by commas) turns one that is missing, or that there is no such of, into a failed run.
const { BROWSER, browserPath } = require('./support/browser');
const { FETCHED_SETS } = require('./support/optional-data');
const { OPTIONAL_ENGINES, required, skippedEngines } = require('./support/optional-engines');
const { TENSORBOARD, tensorboardPython } = require('./support/tensorboard');

const BUILT_IN = ['reference', 'tfjs:cpu', 'tfjs:wasm'];

module.exports = class {
  constructor() {
    const missing = Object.keys(OPTIONAL_ENGINES).filter((name) => !OPTIONAL_ENGINES[name]());
    this.noBrowser = browserPath() === undefined;
    if (this.noBrowser) missing.push(BROWSER);
    this.noTensorboard = tensorboardPython() === undefined;
    if (this.noTensorboard) missing.push(TENSORBOARD);
    const known = [...BUILT_IN, BROWSER, TENSORBOARD, ...Object.keys(OPTIONAL_ENGINES), ...FETCHED_SETS];
    this.skipped = skippedEngines();
    this.failed = required().filter((name) => missing.includes(name) || !known.includes(name));
  }

  onRunComplete(_contexts, results) {
    if (this.skipped.length > 0) console.log(`\nengines not tested here: ${this.skipped.join(', ')}`);
    if (this.noBrowser) console.log('\nbrowser pages not tested here: there is no chromium (CHROME_BIN names one)');
    if (this.noTensorboard) console.log('\nTensorBoard not tested here: scripts/install-tensorboard.sh installs it');
    // Tests run in other processes: what could not be fetched is told by the names of skipped tests.
    for (const { testResults } of results.testResults) {
      for (const { status, title } of testResults) {
        const [, name, reason] = /^data set (\S+) is not tested: (.*)$/.exec(title) ?? [];
        if (status !== 'pending' || name === undefined) continue;
        console.log(`\ndata set not tested here: ${name} (${reason})`);
        if (required().includes(name)) this.failed.push(name);
      }
    }
    if (this.failed.length > 0) console.log(`\nrequired but missing: ${this.failed.join(', ')}`);
    console.log(`${results.numPassedTests} passed, ${results.numFailedTests} failed`);
  }

  getLastError() {
    return this.failed.length > 0
      ? new Error(`required engines, data sets, a browser or TensorBoard are missing: ${this.failed.join(', ')}`)
      : undefined;
  }
};
