import * as tf from '@tensorflow/tfjs';
import { EngineUnavailableError, UnknownNameError } from '../../src/contracts';
import { createEngine, ENGINE_NAMES, probeEngines, type LoadPackage } from '../../src/engines';
import { OPTIONAL_ENGINES } from '../support/optional-engines';

/** Whether there is a C compiler. */
const hasNative = OPTIONAL_ENGINES.native();

/** A machine on which no optional package is installed, whatever this one has. */
const bare: LoadPackage = (name) => Promise.reject(new Error(`Cannot find module '${name}'\nRequire stack: …`));

/** A package that loads and registers nothing: it brought a TensorFlow.js of its own. */
const stranger: LoadPackage = () => Promise.resolve({});

test('auto takes the first of the table that runs, and says what was passed over', async () => {
  const { engine, reason } = await createEngine('auto', bare);
  const [name, missing] = hasNative ? ['native', 'tfjs:node-gpu'] : ['tfjs:wasm', 'tfjs:node-gpu, native, tfjs:node'];
  expect(engine.name).toBe(name);
  expect(reason).toBe(`auto: the fastest engine that runs here (not available: ${missing})`);
  expect(engine.capabilities.has('forward')).toBe(true);
  await engine.dispose();
  const tfjs = await createEngine('tfjs', bare);
  expect(tfjs.engine.name).toBe('tfjs:wasm');
  expect(tfjs.reason).toBe('tfjs: the fastest engine that runs here (not available: tfjs:node-gpu, tfjs:node)');
});

test.each(['reference', 'tfjs:cpu', 'tfjs:wasm'])('%s is what was asked for', async (name) => {
  const { engine, reason } = await createEngine(name, bare);
  expect(engine.name).toBe(name);
  expect(reason).toBe('requested');
});

test('a named engine that cannot run is an error with the reason and the remedy, never another engine', async () => {
  const asked = createEngine('tfjs:node', bare);
  await expect(asked).rejects.toThrow(EngineUnavailableError);
  await expect(asked).rejects.toThrow(
    'engine "tfjs:node" cannot run here: @tensorflow/tfjs-node could not be loaded ' +
      "(Cannot find module '@tensorflow/tfjs-node'). " +
      `Install it with "npm install @tensorflow/tfjs-node@${tf.version.tfjs}", or choose another engine.`,
  );
});

test('a package with a TensorFlow.js of its own is told so', async () => {
  await expect(createEngine('tfjs:node', stranger)).rejects.toThrow(
    'registered no backend with the TensorFlow.js that Outerloop uses',
  );
});

test('bounds are checked before anything is opened', async () => {
  await expect(createEngine('reference', bare, { threads: 0 })).rejects.toThrow(
    'threads: expected a positive whole number, got 0.',
  );
  await expect(createEngine('auto', bare, { memoryBytes: 1.5 })).rejects.toThrow('memoryBytes: expected');
  expect((await createEngine('reference', bare, { threads: 3, memoryBytes: 1 })).engine.name).toBe('reference');
});

test('an unknown name lists the known ones', async () => {
  const asked = createEngine('wasm', bare);
  await expect(asked).rejects.toThrow(UnknownNameError);
  await expect(asked).rejects.toThrow('Did you mean "tfjs:wasm"?');
  await expect(createEngine('cuda', bare)).rejects.toThrow(ENGINE_NAMES.join(', '));
});

test('probing lists every engine with what is missing, and leaves the active backend alone', async () => {
  await tf.ready();
  const active = tf.getBackend();
  const probes = await probeEngines(bare);
  expect(tf.getBackend()).toBe(active);
  expect(probes.map(({ name, available }) => [name, available])).toEqual([
    ['tfjs:node-gpu', false],
    ['native', hasNative],
    ['tfjs:node', false],
    ['tfjs:wasm', true],
    ['tfjs:cpu', true],
    ['reference', true],
  ]);
  for (const { available, reason } of probes) expect(reason === '').toBe(available);
  const details = probes.find(({ name }) => name === 'native')?.details;
  expect(Object.keys(details ?? {})).toEqual(['compiler', 'instructions', 'threads', 'cache']);
});
