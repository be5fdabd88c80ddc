// Run it with: node template-optimizer.test.cjs
require('outerloop/register'); // lets Node load TypeScript
const assert = require('node:assert/strict');
const { test } = require('node:test');
const tf = require('@tensorflow/tfjs');
const { train, use } = require('outerloop');
const { plugin, templateOptimizer } = require('./template-optimizer.ts');

test('two steps are those of the formula', () => {
  const theta = { logRate: tf.scalar(Math.log(0.5)), weights: tf.tensor1d([2, 0.25]) };
  const rule = templateOptimizer().optimizer(theta);
  let params = { x: tf.tensor1d([1, -3]) };
  let state = rule.init(params);
  for (const g of [[4, -2], [-1, 0]]) {
    ({ params, state } = rule.update({ params, state, gradients: { x: tf.tensor1d(g) } }));
  } // prettier-ignore
  const byHand = [1, -3].map((x, i) => {
    const m1 = 0.1 * [4, -2][i];
    const m2 = 0.9 * m1 + 0.1 * [-1, 0][i];
    return [m1, m2].reduce((at, m) => at - 0.5 * (2 * m + 0.25 * Math.sign(m)), x);
  });
  [...params.x.dataSync()].forEach((x, i) => assert.ok(Math.abs(x - byHand[i]) < 1e-6, `${x} is not ${byHand[i]}`));
});

test('meta-training lowers the loss of a quadratic', async () => {
  const config = { preset: 'template-optimizer-quadratic', iterations: 10, engine: 'tfjs:cpu' };
  const { before, after } = await train(config, { container: use(plugin) });
  assert.ok(after.mean < before.mean, `${before.mean} before, ${after.mean} after`);
});
