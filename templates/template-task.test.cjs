// Run it with: node template-task.test.cjs
require('outerloop/register'); // lets Node load TypeScript
const assert = require('node:assert/strict');
const { test } = require('node:test');
const tf = require('@tensorflow/tfjs');
const { train, use } = require('outerloop');
const { plugin, templateTask } = require('./template-task.ts');

test('the loss is the mean squared error', () => {
  const batch = { xs: tf.tensor2d([[1, 0], [0, 1]]), ys: tf.tensor1d([2.5, -0.5]) }; // prettier-ignore
  const lossAt = (w, b) =>
    templateTask()
      .loss({ w: tf.tensor1d(w), b: tf.scalar(b) }, batch)
      .dataSync()[0];
  assert.equal(lossAt([2, -1], 0.5), 0);
  assert.equal(lossAt([0, 0], 0), (2.5 ** 2 + 0.5 ** 2) / 2);
});

test('tuning lowers the validation loss', async () => {
  const config = { preset: 'template-task-lr', iterations: 10, engine: 'tfjs:cpu' };
  const { before, after } = await train(config, { container: use(plugin) });
  assert.ok(after.mean < before.mean, `${before.mean} before, ${after.mean} after`);
});
