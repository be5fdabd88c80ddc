// Run it with: node template-problem.test.cjs
require('outerloop/register'); // lets Node load TypeScript
const assert = require('node:assert/strict');
const { test } = require('node:test');
const tf = require('@tensorflow/tfjs');
const { train, use } = require('outerloop');
const { plugin, templateProblem } = require('./template-problem.ts');

test('at the true rate the cup cools as measured', () => {
  const { initState, step, horizon } = templateProblem();
  const theta = { logRate: tf.scalar(Math.log(0.1)) };
  let state = initState(theta);
  for (let t = 0; t < horizon; t++) {
    const stepped = step(theta, state, { t: tf.scalar(t, 'int32') });
    assert.ok(stepped.loss.dataSync()[0] < 1e-10);
    ({ state } = stepped);
  }
  assert.ok(Math.abs(state.temperature.dataSync()[0] - (20 + 70 * 0.9 ** horizon)) < 1e-3);
});

test('training finds it', async () => {
  const { theta } = await train({ preset: 'template-problem-fit', engine: 'tfjs:cpu' }, { container: use(plugin) });
  const rate = Math.exp(theta[0]);
  assert.ok(rate > 0.08 && rate < 0.125, `${rate} instead of 0.1`);
});
