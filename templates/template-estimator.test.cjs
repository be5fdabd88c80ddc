// Run it with: node template-estimator.test.cjs
require('outerloop/register'); // lets Node load TypeScript
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { train, use } = require('outerloop');
const { plugin } = require('./template-estimator.ts');

const run = (more) =>
  train({ preset: 'template-estimator-quadratic', engine: 'tfjs:cpu', ...more }, { container: use(plugin) });

test('training with it lowers the loss', async () => {
  const { before, after } = await run({});
  assert.ok(after.mean < before.mean, `${before.mean} before, ${after.mean} after`);
});

test('the seed decides everything', async () => {
  const [one, again, other] = [await run({ seed: 1 }), await run({ seed: 1 }), await run({ seed: 2 })];
  assert.deepEqual(one.theta, again.theta);
  assert.notDeepEqual(one.theta, other.theta);
});
