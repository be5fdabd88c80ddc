/** GFLOPS of the forms in which a TensorFlow.js backend can be asked for the particles' products. */
import * as tf from '@tensorflow/tfjs';
import { createEngine } from '../src/engines';
import { kernelOf, openDevice, type Device } from '../src/engines/tfjs/device';

export interface FormTiming {
  readonly form: string;
  /** m×k×n */
  readonly shape: string;
  readonly gflops: number;
}

/** [m × k] · [k × n] for each of 16 particles: the products of the MNIST networks, and those where a call's cost shows. */
const PARTICLES = 16;
interface Shape {
  readonly m: number;
  readonly k: number;
  readonly n: number;
}
const SHAPES: readonly Shape[] = [
  { m: 100, k: 784, n: 100 },
  { m: 784, k: 100, n: 100 },
  { m: 100, k: 100, n: 10 },
  { m: 32, k: 64, n: 32 },
  { m: 16, k: 32, n: 16 },
  { m: 8, k: 16, n: 4 },
];

interface Form {
  readonly name: string;
  /** Undefined where the backend cannot do it. Returns what is to be freed. */
  readonly run: ((device: Device, a: tf.Tensor, b: tf.Tensor) => tf.TensorInfo) | undefined;
}

function batched(transposeB: boolean): Form['run'] {
  return (device, a, b) =>
    kernelOf(
      device,
      'BatchMatMul',
    )({
      inputs: { a, b },
      attrs: { transposeA: false, transposeB },
      backend: device.backend,
    }) as tf.TensorInfo;
}

function formsOf(device: Device, { m, k, n }: Shape): Form[] {
  const particles = PARTICLES;
  const { products, memory } = device;
  return [
    { name: 'one batched kernel call, no flags', run: batched(false) },
    { name: 'one batched kernel call, a flag', run: batched(true) },
    {
      name: 'a plain 2-D product a particle (views)',
      run:
        products === undefined || memory === undefined
          ? undefined
          : (_, a, b) => {
              const dataId = memory.allocate([particles, m, n], 'float32');
              for (let p = 0; p < particles; p++) {
                products.multiply(
                  { dataId: a.dataId, offset: p * m * k },
                  { dataId: b.dataId, offset: p * k * n },
                  { dataId, offset: p * m * n },
                  m,
                  k,
                  n,
                );
              }
              return { dataId, shape: [particles, m, n], dtype: 'float32' };
            },
    },
    {
      name: 'all rows by one matrix, a 2-D product',
      run: (opened, a, b) =>
        kernelOf(
          opened,
          'BatchMatMul',
        )({
          inputs: {
            a: { dataId: a.dataId, shape: [1, particles * m, k], dtype: 'float32' },
            b: { dataId: b.dataId, shape: [1, k, n], dtype: 'float32' },
          },
          attrs: { transposeA: false, transposeB: false },
          backend: opened.backend,
        }) as tf.TensorInfo,
    },
  ];
}

/** Medians over five rounds, the forms taking turns. `engine` is one of the tfjs engines. */
export async function timeForms(engine: string): Promise<FormTiming[]> {
  // Loads the backend; a cpu engine has nothing to load.
  const opened = (await createEngine(engine)).engine as { readonly device?: { readonly backendName: string } };
  if (opened.device === undefined) throw new Error(`engine ${engine} runs on no TensorFlow.js backend`);
  const device = await openDevice(opened.device.backendName);
  await tf.setBackend(device.backendName);
  const timings: FormTiming[] = [];
  for (const shape of SHAPES) timings.push(...(await timeShape(device, shape)));
  return timings;
}

async function timeShape(device: Device, shape: Shape): Promise<FormTiming[]> {
  const { m, k, n } = shape;
  const a = tf.randomUniform([PARTICLES, m, k], -1, 1, 'float32', 1);
  const b = tf.randomUniform([PARTICLES, k, n], -1, 1, 'float32', 2);
  const flagged = tf.randomUniform([PARTICLES, n, k], -1, 1, 'float32', 3);
  const forms = formsOf(device, shape).filter(({ run }) => run !== undefined);
  const seconds = forms.map((): number[] => []);
  const flops = 2 * PARTICLES * m * k * n;
  // Enough calls for a millisecond or more at the slowest rate that was seen.
  const calls = Math.max(1, Math.round(5e6 / flops));
  for (let round = 0; round < 6; round++) {
    for (const [i, { name, run }] of forms.entries()) {
      const start = performance.now();
      for (let call = 0; call < calls; call++) {
        const out = run!(device, a, name.endsWith('a flag') ? flagged : b);
        if (call === calls - 1) await device.backend.read(out.dataId);
        device.backend.disposeData(out.dataId);
      }
      // The first round warms up.
      if (round > 0) seconds[i].push((performance.now() - start) / 1000);
    }
  }
  tf.dispose([a, b, flagged]);
  return forms.map(({ name }, i) => {
    const sorted = seconds[i].sort((x, y) => x - y);
    return { form: name, shape: `${m}×${k}×${n}`, gflops: (calls * flops) / sorted[sorted.length >> 1] / 1e9 };
  });
}
