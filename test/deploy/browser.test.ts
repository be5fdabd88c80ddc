/** A learned optimizer in pages of a real browser: without a bundler on three backends, and through a bundler. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import * as esbuild from 'esbuild';
import * as tf from '@tensorflow/tfjs';
import { createContainer } from '../../src';
import { encodeWeights, trainableFromBytes } from '../../src/deploy';
import { bundle } from '../../scripts/bundle-browser';
import { temporaryFolder } from '../outer/compiled';
import { browserPath } from '../support/browser';

jest.setTimeout(180_000);

const PACKAGES = resolve(__dirname, '..', '..', 'node_modules', '@tensorflow');
const BACKENDS = ['cpu', 'wasm', 'webgl'] as const;
const STEPS = 15;

/** Adam at a learned rate. */
const WEIGHTS = encodeWeights({
  optimizer: { name: 'adam', learningRate: 'meta.log(0.01)' },
  featureVersion: 1,
  layout: { size: 1, leaves: [{ path: 'learningRate', shape: [], offset: 0, size: 1 }] },
  theta: Float32Array.of(Math.log(0.05)),
  record: {},
});

/** Trains a small model and returns its losses. Its text runs in the page too: it may use nothing but its arguments. */
async function losses(library: typeof tf, optimizer: tf.Optimizer, steps: number): Promise<number[]> {
  const wave = (count: number, factor: number): number[] =>
    Array.from({ length: count }, (_, i) => Math.sin(1 + factor * i));
  const dense = (units: number, inputs: number, factor: number, activation?: 'tanh'): tf.layers.Layer =>
    library.layers.dense({
      units,
      inputShape: [inputs],
      weights: [library.tensor2d(wave(units * inputs, factor), [inputs, units]), library.zeros([units])],
      ...(activation === undefined ? {} : { activation }),
    });
  const model = library.sequential({ layers: [dense(6, 3, 0.7, 'tanh'), dense(2, 6, 1.3)] });
  model.compile({ optimizer, loss: 'meanSquaredError' });
  const xs = library.tensor2d(wave(24, 2.1), [8, 3]);
  const ys = library.tensor2d(wave(16, 0.4), [8, 2]);
  const { history } = await model.fit(xs, ys, { epochs: steps, batchSize: 8, shuffle: false });
  return history.loss as number[];
}

/** Common to both pages; `load` is `loadOptimizer`. Whatever comes of it is sent back. */
const RUN = `
const losses = LOSSES;
async function run(tf, load, backends) {
  const found = {};
  for (const backend of backends) {
    if (!(await tf.setBackend(backend))) throw new Error('no backend ' + backend);
    await tf.ready();
    const optimizer = await load('/optimizer.safetensors');
    found[backend] = await losses(tf, optimizer, ${STEPS});
    optimizer.dispose();
    found[backend + ' refuses'] = await load('/damaged.safetensors').then(() => 'nothing', (error) => error.name);
    found[backend + ' misses'] = await load('/none.safetensors').then(() => 'nothing', (error) => error.message);
  }
  return found;
}
const send = (body) => fetch('/result', { method: 'POST', body: JSON.stringify(body) });
const report = (work) => work.then(send, (error) => send({ error: String(error && error.stack || error) }));
`;
const runText = RUN.replace('LOSSES', losses.toString());

const folder = temporaryFolder();
let server: Server | undefined;
let result: ((body: Readonly<Record<string, unknown>>) => void) | undefined;
let browser: ChildProcess | undefined;

const pages: Readonly<Record<string, string>> = {
  '/scripts.html': `<!doctype html><meta charset="utf-8">
<script src="/tf.js"></script><script src="/wasm.js"></script><script src="/outerloop.min.js"></script>
<script>${runText}
tf.wasm.setWasmPaths('/wasm/');
report(run(tf, outerloop.loadOptimizer, ${JSON.stringify(BACKENDS)}));</script>`,
  '/bundled.html': '<!doctype html><meta charset="utf-8"><script type="module" src="/bundled.js"></script>',
};

/** What a path is answered with. */
function answer(path: string): { readonly type: string; readonly body: Uint8Array | string } | undefined {
  const script = (file: string) => ({ type: 'text/javascript', body: readFileSync(file) });
  if (path in pages) return { type: 'text/html', body: pages[path] };
  if (path === '/tf.js') return script(join(PACKAGES, 'tfjs', 'dist', 'tf.min.js'));
  if (path === '/wasm.js') return script(join(PACKAGES, 'tfjs-backend-wasm', 'dist', 'tf-backend-wasm.min.js'));
  if (/^\/wasm\/[\w.-]+\.wasm$/.test(path)) {
    return {
      type: 'application/wasm',
      body: readFileSync(join(PACKAGES, 'tfjs-backend-wasm', 'dist', path.slice('/wasm/'.length))),
    };
  }
  if (path === '/outerloop.min.js' || path === '/bundled.js') return script(join(folder, path.slice(1)));
  if (path === '/optimizer.safetensors') return { type: 'application/octet-stream', body: WEIGHTS };
  if (path === '/damaged.safetensors') return { type: 'application/octet-stream', body: WEIGHTS.slice(0, -1) };
  return undefined;
}

/** Whether there was one to be ended. */
function endBrowser(): boolean {
  try {
    return browser?.pid !== undefined && process.kill(-browser.pid, 'SIGKILL');
  } catch {
    return false;
  }
}

/** What a page sends back. */
async function visit(path: string): Promise<Readonly<Record<string, unknown>>> {
  const { port } = server!.address() as AddressInfo;
  const sent = new Promise<Readonly<Record<string, unknown>>>((found) => {
    result = found;
  });
  const flags = ['--headless=new', '--no-sandbox', '--disable-gpu-sandbox', '--use-angle=swiftshader'];
  const more = ['--enable-unsafe-swiftshader', '--no-first-run', `--user-data-dir=${join(folder, 'profile')}`];
  browser = spawn(browserPath()!, [...flags, ...more, `http://127.0.0.1:${String(port)}${path}`], {
    stdio: 'ignore',
    // A group of its own: its helpers end with it, and write to the profile until then.
    detached: true,
  });
  const ended = new Promise<never>((_, fail) => {
    browser!.once('exit', (code) =>
      fail(new Error(`the browser ended with ${String(code)} before the page was through`)),
    );
    browser!.once('error', fail);
  });
  try {
    return await Promise.race([sent, ended]);
  } finally {
    ended.catch(() => undefined);
    const gone = new Promise((done) => browser!.once('exit', done));
    if (browser.exitCode === null && endBrowser()) await gone;
  }
}

const expected: number[] = [];

beforeAll(async () => {
  if (browserPath() === undefined) return;
  await bundle(folder);
  writeFileSync(
    join(folder, 'page.js'),
    `import * as tf from '@tensorflow/tfjs';
import { loadOptimizer } from ${JSON.stringify(join(folder, 'outerloop.mjs'))};
${runText}
report(run(tf, loadOptimizer, ['cpu', 'webgl']));`,
  );
  await esbuild.build({
    entryPoints: [join(folder, 'page.js')],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    nodePaths: [resolve(PACKAGES, '..')],
    outfile: join(folder, 'bundled.js'),
    logLevel: 'error',
  });
  server = createServer((request, response) => {
    const path = request.url ?? '/';
    if (request.method === 'POST') {
      let text = '';
      request.on('data', (part: Buffer) => (text += part.toString()));
      request.on('end', () => {
        response.end();
        result?.(JSON.parse(text) as Readonly<Record<string, unknown>>);
      });
      return;
    }
    const found = answer(path);
    if (found === undefined) response.writeHead(404, 'Not Found').end();
    else response.writeHead(200, { 'Content-Type': found.type }).end(found.body);
  });
  await new Promise<void>((done) => server!.listen(0, '127.0.0.1', done));
  await tf.setBackend('cpu');
  const optimizer = await trainableFromBytes(WEIGHTS, 'weights', createContainer());
  expected.push(...(await losses(tf, optimizer, STEPS)));
});

afterAll(() => {
  endBrowser();
  server?.close();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
});

function expectLosses(found: Readonly<Record<string, unknown>>, backend: string): void {
  const got = found[backend] as readonly number[];
  expect(got).toHaveLength(STEPS);
  // Backends round their sums differently; Adam's step turns a relative error into one of its size.
  got.forEach((loss, t) => expect(Math.abs(loss / expected[t] - 1)).toBeLessThan(1e-3));
  expect(found[`${backend} refuses`]).toBe('WeightsError');
  expect(found[`${backend} misses`]).toBe(`/none.safetensors cannot be fetched: 404 Not Found.`);
}

if (browserPath() === undefined) {
  test.skip('browser is not tested: there is no chromium', () => undefined);
} else {
  test('by script tags, on cpu, wasm and webgl, a model trains as in Node', async () => {
    const found = await visit('/scripts.html');
    expect(found.error).toBeUndefined();
    for (const backend of BACKENDS) expectLosses(found, backend);
    expect(expected[STEPS - 1]).toBeLessThan(0.85 * expected[0]);
  });

  test('through a bundler, with the TensorFlow.js of the page', async () => {
    const found = await visit('/bundled.html');
    expect(found.error).toBeUndefined();
    for (const backend of ['cpu', 'webgl']) expectLosses(found, backend);
  });
}
