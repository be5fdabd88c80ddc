/** Files of weights: what goes in comes out, and what is wrong with one is said before anything is built on it. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { createContainer, definePlugin, loadOptimizer, meta, registerOptimizers, use, WeightsError } from '../../src';
import { decodeWeights, encodeWeights, type OptimizerWeights } from '../../src/deploy';
import { decodeSafetensors, encodeSafetensors } from '../../src/outer/run-directory';
import { sgd } from '../../learned-optimizers';
import { here } from '../support/command-line';
import { temporaryFolder } from '../outer/compiled';

jest.setTimeout(60_000);

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (...path: string[]): string => join(folder, ...path);

const weights: OptimizerWeights = {
  optimizer: { name: 'sgd', learningRate: 'meta.log(0.01)', momentum: 'meta.logit(0.9)', nesterov: false },
  featureVersion: 1,
  layout: {
    size: 2,
    leaves: [
      { path: 'learningRate', shape: [], offset: 0, size: 1 },
      { path: 'momentum', shape: [], offset: 1, size: 1 },
    ],
  },
  theta: Float32Array.of(-3.25, 1.5),
  record: { iterations: 12, task: { name: 'quadratic' } },
};

async function problemWith(bytes: Uint8Array): Promise<string> {
  writeFileSync(at('bad.safetensors'), bytes);
  const error: unknown = await loadOptimizer(at('bad.safetensors')).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(WeightsError);
  return (error as Error).message.replace(`${folder}/`, '');
}

test('what is written is read, bit for bit; equal weights are equal bytes', () => {
  const bytes = encodeWeights(weights);
  expect(decodeWeights(bytes, 'file')).toEqual(weights);
  expect(encodeWeights(weights)).toEqual(bytes);
  // Any reader of the format finds the tensors.
  const { tensors } = decodeSafetensors(bytes, 'file');
  expect(Array.from(tensors.momentum.data)).toEqual([1.5]);
});

test('a run is exported to a file; folder and file load as one optimizer, by which a model trains', async () => {
  const config = 'task: quadratic\noptimizer: {name: sgd, learningRate: meta.log(0.02), momentum: meta.logit(0.5)}\n';
  const rest =
    'horizon: 10\nestimator: {name: nres, pairs: 2, sigma: 0.1, window: 5}\niterations: 3\nengine: reference\n';
  writeFileSync(at('run.yaml'), config + rest);
  expect(await here('train', at('run.yaml'), '--quiet', '--output', at('run'))).toMatchObject({ code: 0 });
  const file = at('mine.safetensors');
  const { code, stdout, stderr } = await here('export', at('run'), '--output', file);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/^sgd, 2 numbers, after 3 outer iterations: .*mine\.safetensors\n$/);
  const fromFile = await loadOptimizer(file);
  const fromRun = await loadOptimizer(at('run'));
  expect(fromFile.weights).toEqual(fromRun.weights);
  expect(fromFile.weights.record).toMatchObject({ iterations: 3, horizon: 10, task: { name: 'quadratic' } });
  const start = await loadOptimizer(at('run'), { checkpoint: 3 });
  expect(start.weights).toEqual(fromRun.weights);
  // One step of SGD: x − α·x with the exported α.
  const [rate] = fromFile.weights.theta;
  expect(rate).not.toBe(Math.fround(Math.log(0.02)));
  const x = tf.variable(tf.scalar(3));
  fromFile.minimize(() => tf.mul(tf.square(x), 0.5), false, [x]);
  expect(x.dataSync()[0]).toBeCloseTo(3 * (1 - Math.exp(rate)), 5);
});

test.each([
  ['10', 10],
  ['{name: growing, from: 5, to: 20, iterations: 3}', 20],
])('a schedule that takes its time from a horizon of %s keeps it', async (horizon, longest) => {
  const folder = at(`scheduled-${String(longest)}`);
  const config =
    'task: quadratic\noptimizer: {name: sgd, learningRate: {name: inverse-time, initial: meta.log(0.02), decay: 2}}\n' +
    'estimator: {name: nres, pairs: 2, sigma: 0.1, window: 5}\niterations: 3\nengine: reference\n';
  writeFileSync(at('scheduled.yaml'), `${config}horizon: ${horizon}\n`);
  expect(await here('train', at('scheduled.yaml'), '--quiet', '--output', folder)).toMatchObject({ code: 0 });
  const optimizer = await loadOptimizer(folder);
  const [rate] = optimizer.weights.theta;
  const x = tf.variable(tf.scalar(3));
  const losing = (): tf.Scalar => tf.mul(tf.square(x), 0.5);
  optimizer.minimize(losing, false, [x]);
  optimizer.minimize(losing, false, [x]);
  // α(t) = initial/(1 + t/horizon)²
  const alpha = (t: number): number => Math.exp(rate) / (1 + t / longest) ** 2;
  expect(x.dataSync()[0]).toBeCloseTo(3 * (1 - alpha(0)) * (1 - alpha(1)), 5);
});

test('a model that is saved with its optimizer is read with it, state and all', async () => {
  await tf.setBackend('cpu');
  writeFileSync(at('some.safetensors'), encodeWeights(weights));
  registerOptimizers();
  const xs = tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2]);
  const ys = tf.tensor2d([1, -1, 0.5], [3, 1]);
  const model = tf.sequential({ layers: [tf.layers.dense({ units: 1, inputShape: [2] })] });
  model.compile({ optimizer: await loadOptimizer(at('some.safetensors')), loss: 'meanSquaredError' });
  const train = async (of: tf.LayersModel): Promise<number[]> =>
    (await of.fit(xs, ys, { epochs: 3, batchSize: 3, shuffle: false })).history.loss as number[];
  await train(model);
  let artifacts: tf.io.ModelArtifacts | undefined;
  await model.save(
    tf.io.withSaveHandler((saved) => {
      artifacts = saved;
      return Promise.resolve({ modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } });
    }),
    { includeOptimizer: true },
  );
  const read = await tf.loadLayersModel(tf.io.fromMemory(artifacts!));
  expect(await train(read)).toEqual(await train(model));
});

describe('what it refuses', () => {
  test('truncated, changed, or no such file', async () => {
    const bytes = encodeWeights(weights);
    expect(await problemWith(bytes.subarray(0, bytes.length - 4))).toMatch(
      /^bad\.safetensors is damaged: .* Export the/,
    );
    const changed = Uint8Array.from(bytes);
    changed[bytes.length - 1] ^= 1;
    expect(await problemWith(changed)).toMatch(/checksum does not fit its bytes\. Export the optimizer again\.$/);
    expect(await problemWith(new Uint8Array(3))).toMatch(/it has 3 bytes/);
    await expect(loadOptimizer(at('none.safetensors'))).rejects.toThrow(/none\.safetensors cannot be read \(ENOENT\)/);
  });

  test('another safetensors file', async () => {
    const other = encodeSafetensors({ tensors: { a: { shape: [1], data: Float32Array.of(1) } }, metadata: {} });
    expect(await problemWith(other)).toMatch(/expected a file of the format "outerloop-optimizer-1", got another/);
  });

  test('numbers that are not finite, when written and when read', async () => {
    const bad = { ...weights, theta: Float32Array.of(1, NaN) };
    expect(() => encodeWeights(bad)).toThrow('the weights of sgd: expected finite numbers, got NaN at momentum[0].');
    const { tensors, metadata } = decodeSafetensors(encodeWeights(weights), 'file');
    const bytes = encodeSafetensors({
      tensors: { ...tensors, momentum: { shape: [], data: Float32Array.of(-Infinity) } },
      metadata,
    });
    expect(await problemWith(bytes)).toMatch(
      /^bad\.safetensors: expected finite numbers, got -Infinity at momentum\[0\]/,
    );
  });

  test('another architecture, another feature version, an optimizer that is not known here', async () => {
    const { optimizer } = weights;
    expect(await problemWith(encodeWeights({ ...weights, optimizer: { ...optimizer, momentum: 0.9 } }))).toMatch(
      /expected θ of sgd with the tensors learningRate\[\], got learningRate\[\] momentum\[\]\. It was written for another/,
    );
    expect(await problemWith(encodeWeights({ ...weights, featureVersion: 2 }))).toMatch(
      /expected feature version 1 of sgd, got 2\. Use the version of Outerloop/,
    );
    expect(await problemWith(encodeWeights({ ...weights, optimizer: { name: 'mine', rate: 1 } }))).toMatch(
      /is of an optimizer that cannot be built here: unknown optimizer "mine".* Hand in the plugin that brings it\.$/,
    );
  });

  test('a plugin brings what is not built in', async () => {
    const plugin = definePlugin(({ optimizer }) => {
      optimizer('mine', () => sgd({ learningRate: meta.log(1), momentum: meta.logit(0.5) }));
    });
    writeFileSync(at('mine.safetensors'), encodeWeights({ ...weights, optimizer: { name: 'mine' } }));
    const loaded = await loadOptimizer(at('mine.safetensors'), { container: use(plugin) });
    expect(loaded.weights.theta).toEqual(weights.theta);
    expect(createContainer().names('optimizer')).not.toContain('mine');
  });

  test('a run of a problem has no optimizer', async () => {
    const problem = ['train', 'quadratic', '--engine', 'reference', '--set', 'iterations=1', '--quiet'];
    expect(await here(...problem, '--output', at('problem'))).toMatchObject({ code: 0 });
    const { code, stderr } = await here('export', at('problem'), '--output', at('no.safetensors'));
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error: .* trains the problem "quadratic": expected a run of a task and an optimizer\.\n$/);
    expect((await here('export', at('problem'), '--output', at('no.bin'))).stderr).toBe(
      `error: --output: expected the name of a .safetensors file, got "${at('no.bin')}".\n`,
    );
  });
});
