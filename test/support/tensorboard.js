// Python with TensorBoard, as scripts/install-tensorboard.sh makes it. Plain JavaScript: the reporter reads it too.
const { existsSync } = require('node:fs');
const { join } = require('node:path');

/** Undefined where it is not installed. */
function tensorboardPython() {
  const path = join(__dirname, '.venv', 'bin', 'python');
  return existsSync(path) ? path : undefined;
}

module.exports = { TENSORBOARD: 'tensorboard', tensorboardPython };
