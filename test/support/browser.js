// The browser of this machine, if it has one. Plain JavaScript: the reporter reads it too.
const { existsSync } = require('node:fs');
const { delimiter, join } = require('node:path');

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** CHROME_BIN, else the first of the usual names on the path; undefined if there is none. */
function browserPath() {
  const { CHROME_BIN, PATH = '' } = process.env;
  if (CHROME_BIN !== undefined && CHROME_BIN !== '') return existsSync(CHROME_BIN) ? CHROME_BIN : undefined;
  const folders = PATH.split(delimiter).filter((folder) => folder !== '');
  return folders.flatMap((folder) => NAMES.map((name) => join(folder, name))).find((path) => existsSync(path));
}

module.exports = { BROWSER: 'browser', browserPath };
