/** Traced problems built by hand, so that engines are tested without the tracer. */
import type { DataTable, ThetaLayout, UnrolledProblem } from '../../src/contracts';
import { GraphBuilder } from '../../src/graph/builder';
import { sizeOf, type Graph, type ValueId, type ValueType } from '../../src/graph/ir';
import type { TracedProblem } from '../../src/graph/program';

export const f32 = (...shape: number[]): ValueType => ({ shape, dtype: 'float32' });
export const i32 = (...shape: number[]): ValueType => ({ shape, dtype: 'int32' });
export const bool = (...shape: number[]): ValueType => ({ shape, dtype: 'bool' });

type Leaves = Readonly<Record<string, ValueType>>;
type Values = Readonly<Record<string, ValueId>>;

/** Leaves are taken in the order of their sorted names, as trees are. */
export interface HandBuilt {
  readonly name: string;
  readonly horizon?: number;
  readonly theta: Leaves;
  readonly state: Leaves;
  readonly init: (b: GraphBuilder, theta: Values) => Values;
  readonly step: (
    b: GraphBuilder,
    theta: Values,
    state: Values,
    t: ValueId,
  ) => { readonly state: Values; readonly loss: ValueId; readonly metrics?: Values };
  readonly finish?: (b: GraphBuilder, theta: Values, state: Values, t: ValueId) => Values;
}

function inputs(b: GraphBuilder, prefix: string, leaves: Leaves): Values {
  const names = Object.keys(leaves).sort();
  return Object.fromEntries(names.map((name) => [name, b.input(`${prefix}.${name}`, leaves[name])]));
}

function ordered(values: Values): ValueId[] {
  return Object.keys(values)
    .sort()
    .map((name) => values[name]);
}

export function thetaLayout(leaves: Leaves): ThetaLayout {
  let size = 0;
  const all = Object.keys(leaves)
    .sort()
    .map((path) => {
      const leaf = { path, shape: leaves[path].shape, offset: size, size: sizeOf(leaves[path].shape) };
      size += leaf.size;
      return leaf;
    });
  return { size, leaves: all };
}

export function handBuilt(spec: HandBuilt): TracedProblem {
  const neverTraced = (): never => {
    throw new Error(`${spec.name} is built by hand.`);
  };
  const problem: UnrolledProblem = {
    name: spec.name,
    horizon: spec.horizon ?? Infinity,
    initTheta: neverTraced,
    initState: neverTraced,
    step: neverTraced,
  };
  const initBuilder = new GraphBuilder('init');
  const initState = spec.init(initBuilder, inputs(initBuilder, 'theta', spec.theta));
  const init = initBuilder.finish(ordered(initState));

  const b = new GraphBuilder('step');
  const theta = inputs(b, 'theta', spec.theta);
  const state = inputs(b, 'state', spec.state);
  const result = spec.step(b, theta, state, b.input('t', i32()));
  const metrics = result.metrics ?? {};
  const step = b.finish([...ordered(result.state), result.loss, ...ordered(metrics)]);

  let finish: Graph | undefined;
  let finishes: string[] = [];
  if (spec.finish !== undefined) {
    const f = new GraphBuilder('finish');
    const th = inputs(f, 'theta', spec.theta);
    const st = inputs(f, 'state', spec.state);
    const outputs = spec.finish(f, th, st, f.input('t', i32()));
    finish = f.finish(ordered(outputs));
    finishes = Object.keys(outputs).sort();
  }
  return {
    problem,
    theta: thetaLayout(spec.theta),
    state: Object.keys(spec.state)
      .sort()
      .map((path) => ({ path, type: spec.state[path] })),
    metrics: Object.keys(metrics).sort(),
    finishes,
    init,
    step,
    ...(finish === undefined ? {} : { finish }),
  };
}

function mean(b: GraphBuilder, x: ValueId): ValueId {
  const shape = b.shape(x);
  return b.binary('div', b.reduceSum(x, [...shape.keys()]), b.fill(sizeOf(shape), []));
}

/** x′ = x + dt·f(x) of Lorenz' system (Lorenz 1963) with θ = (log r, log a); loss (z − 20)². */
export function lorenzLike(): TracedProblem {
  return handBuilt({
    name: 'lorenz-like',
    theta: { a: f32(), r: f32() },
    state: { x: f32(), y: f32(), z: f32() },
    init: (b) => {
      const draw = (n: number): ValueId =>
        b.emit('random', [], {
          stream: 'init',
          perStep: false,
          path: [n],
          distribution: { name: 'normal' },
          shape: [],
        });
      return { x: b.binary('add', draw(0), b.fill(1.2, [])), y: draw(1), z: b.binary('add', draw(2), b.fill(20, [])) };
    },
    step: (b, theta, { x, y, z }) => {
      const dt = b.fill(0.005, []);
      const times = (p: ValueId, q: ValueId): ValueId => b.binary('mul', p, q);
      const minus = (p: ValueId, q: ValueId): ValueId => b.binary('sub', p, q);
      const plus = (p: ValueId, q: ValueId): ValueId => b.binary('add', p, q);
      const a = b.op('exp', theta.a);
      const r = b.op('exp', theta.r);
      const nextX = plus(x, times(dt, times(a, minus(y, x))));
      const nextY = plus(y, times(dt, minus(times(x, minus(r, z)), y)));
      const nextZ = plus(z, times(dt, minus(times(x, y), times(b.fill(8 / 3, []), z))));
      const away = minus(nextZ, b.fill(20, []));
      return { state: { x: nextX, y: nextY, z: nextZ }, loss: times(away, away), metrics: { z: nextZ } };
    },
    finish: (b, _theta, { x, y }) => ({ radius: b.op('sqrt', b.binary('add', b.op('mul', x, x), b.op('mul', y, y))) }),
  });
}

/** Twelve rows of six bytes, and their labels 0, 1, 2. */
export const PIXELS: DataTable = {
  name: 'engine-test-pixels',
  values: Uint8Array.from({ length: 72 }, (_, i) => (i * 89 + 31) % 256),
  dtype: 'uint8',
  rows: 12,
  rowShape: [6],
};
export const LABELS: DataTable = {
  name: 'engine-test-labels',
  values: Uint8Array.from({ length: 12 }, (_, i) => (i * 7) % 3),
  dtype: 'uint8',
  rows: 12,
  rowShape: [],
};

/** A two-layer network trained by momentum; θ = (log rate, momentum), validated on a batch fixed for the episode. */
export function networkLike(sizes: { readonly hidden?: number; readonly batch?: number } = {}): TracedProblem {
  const { hidden = 5, batch = 4 } = sizes;
  const [width, classes] = [6, 3];
  const shapes: Leaves = { w1: f32(width, hidden), b1: f32(hidden), w2: f32(hidden, classes), b2: f32(classes) };
  const names = Object.keys(shapes);

  const rows = (b: GraphBuilder, perStep: boolean, draw: number): ValueId =>
    b.emit('random', [], {
      stream: 'batch',
      perStep,
      path: [draw],
      distribution: { name: 'integer', low: 0, high: PIXELS.rows },
      shape: [batch],
    });
  const decoded = (b: GraphBuilder, indices: ValueId): ValueId => {
    const raw = b.cast(b.op('gather', b.table(PIXELS), indices), 'float32');
    return b.binary('add', b.binary('mul', raw, b.fill(1 / 255, [])), b.fill(-0.5, []));
  };
  const oneHot = (b: GraphBuilder, indices: ValueId): ValueId => {
    const labels = b.cast(b.op('gather', b.table(LABELS), indices), 'int32');
    const all = b.emit('iota', [], { shape: [batch, classes], axis: 1 });
    return b.cast(b.binary('eq', b.reshape(labels, [batch, 1]), all), 'float32');
  };
  const forward = (b: GraphBuilder, w: Values, x: ValueId): { h: ValueId; logits: ValueId } => {
    const product = (p: ValueId, q: ValueId): ValueId =>
      b.emit('matmul', [p, q], { transposeA: false, transposeB: false });
    const pre = b.binary('add', product(x, w.w1), w.b1);
    const h = b.op('max', pre, b.zeros(b.type(pre)));
    return { h, logits: b.binary('add', product(h, w.w2), w.b2) };
  };
  const softmax = (b: GraphBuilder, logits: ValueId): ValueId => {
    const top = b.reshape(b.emit('reduceMax', [logits], { axes: [1] }), [batch, 1]);
    const powers = b.op('exp', b.binary('sub', logits, top));
    return b.binary('div', powers, b.reshape(b.reduceSum(powers, [1]), [batch, 1]));
  };
  const crossEntropy = (b: GraphBuilder, logits: ValueId, target: ValueId): ValueId =>
    b.op('neg', mean(b, b.reduceSum(b.binary('mul', target, b.op('log', softmax(b, logits))), [1])));
  const accuracy = (b: GraphBuilder, logits: ValueId, indices: ValueId): ValueId => {
    const labels = b.cast(b.op('gather', b.table(LABELS), indices), 'int32');
    return mean(b, b.cast(b.op('eq', b.emit('argMax', [logits], { axis: 1 }), labels), 'float32'));
  };

  return handBuilt({
    name: 'network-like',
    theta: { momentum: f32(), rate: f32() },
    state: { ...shapes, ...Object.fromEntries(names.map((name) => [`v${name}`, shapes[name]])), count: i32() },
    init: (b) => {
      const draw = (n: number, { shape }: ValueType): ValueId =>
        b.binary(
          'mul',
          b.emit('random', [], { stream: 'init', perStep: false, path: [n], distribution: { name: 'normal' }, shape }),
          b.fill(0.5, []),
        );
      return {
        ...Object.fromEntries(names.map((name, i) => [name, draw(i, shapes[name])])),
        ...Object.fromEntries(names.map((name) => [`v${name}`, b.zeros(shapes[name])])),
        count: b.fill(0, [], 'int32'),
      };
    },
    step: (b, theta, state, t) => {
      const indices = rows(b, true, 0);
      const x = decoded(b, indices);
      const target = oneHot(b, indices);
      const { h, logits } = forward(b, state, x);
      const error = b.binary('div', b.binary('sub', softmax(b, logits), target), b.fill(batch, []));
      const back = b.emit('matmul', [error, state.w2], { transposeA: false, transposeB: true });
      const gate = b.select(b.binary('gt', h, b.zeros(b.type(h))), back, b.zeros(b.type(back)));
      const gradients: Values = {
        w1: b.emit('matmul', [x, gate], { transposeA: true, transposeB: false }),
        b1: b.reduceSum(gate, [0]),
        w2: b.emit('matmul', [h, error], { transposeA: true, transposeB: false }),
        b2: b.reduceSum(error, [0]),
      };
      // rate / (1 + t/10)
      const late = b.binary('add', b.fill(1, []), b.binary('div', b.cast(t, 'float32'), b.fill(10, [])));
      const rate = b.binary('div', b.op('exp', theta.rate), late);
      const next: Record<string, ValueId> = {};
      for (const name of names) {
        const v = b.binary('add', b.binary('mul', theta.momentum, state[`v${name}`]), gradients[name]);
        next[`v${name}`] = v;
        next[name] = b.binary('sub', state[name], b.binary('mul', rate, v));
      }
      next.count = b.binary('add', state.count, b.fill(1, [], 'int32'));
      const held = rows(b, false, 1);
      const outside = forward(b, next, decoded(b, held)).logits;
      const noise = b.emit('random', [], {
        stream: 'user',
        perStep: true,
        path: [],
        distribution: { name: 'uniform' },
        shape: [2],
      });
      const jitter = b.binary('mul', b.fill(1e-3, []), mean(b, noise));
      return {
        state: next,
        loss: b.binary('add', crossEntropy(b, outside, oneHot(b, held)), jitter),
        metrics: { accuracy: accuracy(b, outside, held), trainLoss: crossEntropy(b, logits, target) },
      };
    },
    finish: (b, _theta, state) => {
      const whole = b.binary('mul', b.cast(b.table(PIXELS), 'float32'), b.fill(1 / 255, []));
      const { logits } = forward(b, state, whole);
      const labels = b.cast(b.table(LABELS), 'int32');
      const hits = b.op('eq', b.emit('argMax', [logits], { axis: 1 }), labels);
      return { accuracy: mean(b, b.cast(hits, 'float32')), spread: mean(b, b.op('abs', logits)) };
    },
  });
}
