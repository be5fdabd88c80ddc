/**
 * Programs for the native runtime written by hand as loop nests, in both modes, with what they compute in plain JavaScript.
 * Numbers are small multiples of powers of two, so that float32 is exact and results are compared for equality.
 */
import type { UnrolledProblem } from '../../src/contracts';
import {
  f32,
  i32,
  index,
  NestBuilder,
  add,
  mul,
  read,
  loadScalar,
  loadVector,
  binary,
  convert,
} from '../../src/engines/native/nest/builder';
import type { NativeEngine } from '../../src/engines/native/engine';
import type { Mode } from '../../src/engines/native/lower/lanes';
import type { BufferParameter, Expr, Kernel, Target } from '../../src/engines/native/nest/ir';
import type {
  KernelCall,
  LaneMajorProgram,
  ParticleMajorProgram,
  Place,
  PlannedFunction,
  ProgramTable,
} from '../../src/engines/native/plan/program';
import type { NativeUnrollProgram } from '../../src/engines/native/program';
import { GraphBuilder } from '../../src/graph/builder';
import type { TracedProblem } from '../../src/graph/program';
import { episodeKey, foldIn, type Key } from '../../src/random';
import { thetaLayout } from './engine-problems';

/**
 * State: flag (bool), n (int32), word (int32 [2]), x (float32 [2, 3]). Initially x is `TABLE`, word is a key of the stream
 * init. A step: x += θ, n += t, flag flips, word becomes a key of the stream batch; loss x₀₀ + n, metrics `last` = x₁₂ and
 * `tiny`, a product of normal numbers that is subnormal. finish: `end` = 2·x₀₀.
 */
export const TABLE = Float32Array.of(0.5, -1, 2, 0.25, 8, -3, 2 ** -126);
export const THETA_SIZE = 6;
/** Words that particle-major keys are folded with; a lane-major program has no path here. */
const PATH = [7, 0x80000003];

export interface WalkOptions {
  /** Rounds of idle arithmetic a step, about a nanosecond each. */
  readonly idle?: number;
  readonly table?: Float32Array;
}

/** Where a kernel finds element `at` of a value, and whether it handles one particle or a vector of them. */
interface Access {
  readonly width: 'scalar' | 'vector';
  load(buffer: string, memory: 'f32' | 'i32' | 'u8', element: number): Expr;
  store(buffer: string, memory: 'f32' | 'i32' | 'u8', element: number, value: Expr): void;
}

const TABLES = (table: Float32Array): ProgramTable[] => [{ kind: 'constant', data: table }];

function traced(name: string): TracedProblem {
  const never = (): never => {
    throw new Error(`${name} is written by hand.`);
  };
  const problem: UnrolledProblem = { name, horizon: Infinity, initTheta: never, initState: never, step: never };
  const none = new GraphBuilder('none').finish([]);
  return {
    problem,
    theta: thetaLayout({ theta: { shape: [THETA_SIZE], dtype: 'float32' } }),
    state: [
      { path: 'flag', type: { shape: [], dtype: 'bool' } },
      { path: 'n', type: { shape: [], dtype: 'int32' } },
      { path: 'word', type: { shape: [2], dtype: 'int32' } },
      { path: 'x', type: { shape: [2, 3], dtype: 'float32' } },
    ],
    metrics: ['last', 'tiny'],
    finishes: ['end'],
    init: none,
    step: none,
    finish: none,
  };
}

export const WALK = traced('walk');

/** x as particle-major programs hold it: element (i, j) at i + 4·j, so with a gap and transposed. */
const X_STRIDES = [1, 4];
const xPlace = (element: number): number => X_STRIDES[0] * Math.floor(element / 3) + X_STRIDES[1] * (element % 3);
const RECORD = { flag: 0, n: 64, word: 128, x: 192, bytes: 256 };

function idle(b: NestBuilder, rounds: number, theta: Expr): Expr {
  const v = b.var(theta);
  b.loop(rounds, () => {
    b.set(v, add(mul(v, f32(0.5)), theta));
  });
  // 0 whatever v is, which no compiler may know.
  return binary('mul', convert('f32', binary('gt', binary('mul', v, v), f32(Infinity))), f32(0));
}

function buffer(name: string, memory: BufferParameter['memory'], written = false): BufferParameter {
  return { name, memory, written };
}

const scalarAccess = (b: NestBuilder): Access => ({
  width: 'scalar',
  load: (name, memory, element) => loadScalar(name, memory, index(element)),
  store: (name, memory, element, value) => {
    b.storeScalar(name, memory, index(element), value);
  },
});

const KEYS = [
  { name: 'key0', type: 'u32' },
  { name: 'key1', type: 'u32' },
] as const;

/** Kernels of the particle-major program take the state's leaves as buffers of their own. */
export function particleWalk(
  target: Target,
  { idle: rounds = 0, table = TABLE }: WalkOptions = {},
): ParticleMajorProgram {
  const place = (arena: 'theta' | 'state' | 'result' | 't' | 'window', offset = 0): Place => ({ arena, offset });
  const state = [RECORD.flag, RECORD.n, RECORD.word, RECORD.x].map((offset) => place('state', offset));
  const leaves = [
    buffer('flag', 'u8', true),
    buffer('n', 'i32', true),
    buffer('word', 'i32', true),
    buffer('x', 'f32', true),
  ];
  const storeKey = (access: Access): void => {
    [0, 1].forEach((word) => {
      access.store('word', 'i32', word, convert('i32', read(`key${word}`, 'u32', 'scalar')));
    });
  };

  const init = new NestBuilder();
  {
    const access = scalarAccess(init);
    access.store('flag', 'u8', 0, i32(0));
    access.store('n', 'i32', 0, i32(0));
    storeKey(access);
    for (let e = 0; e < THETA_SIZE; e++) access.store('x', 'f32', xPlace(e), access.load('table', 'f32', e));
  }
  const step = new NestBuilder();
  {
    const access = scalarAccess(step);
    step.note('walk: the step');
    const nothing = step.let(idle(step, rounds, access.load('theta', 'f32', 0)));
    for (let e = 0; e < THETA_SIZE; e++) {
      access.store('x', 'f32', xPlace(e), add(access.load('x', 'f32', xPlace(e)), access.load('theta', 'f32', e)));
    }
    access.store('n', 'i32', 0, add(access.load('n', 'i32', 0), access.load('t', 'i32', 0)));
    access.store('flag', 'u8', 0, binary('xor', access.load('flag', 'u8', 0), i32(1)));
    storeKey(access);
    const loss = add(access.load('x', 'f32', xPlace(0)), convert('f32', access.load('n', 'i32', 0)));
    access.store('result', 'f32', 0, add(loss, nothing));
    access.store('result', 'f32', 1, access.load('x', 'f32', xPlace(5)));
    access.store('result', 'f32', 2, mul(access.load('table', 'f32', 6), f32(0.5)));
  }
  const finish = new NestBuilder();
  scalarAccess(finish).store('result', 'f32', 0, mul(loadScalar('x', 'f32', index(xPlace(0))), f32(2)));

  const call = (kernel: Kernel, places: readonly Place[], key?: KernelCall['key']): KernelCall => ({
    kernel,
    places,
    ...(key === undefined ? {} : { key }),
    origin: `test: ${kernel.name}`,
  });
  const planned = (calls: readonly KernelCall[], results: number): PlannedFunction => ({
    prologue: [],
    calls,
    scratchBytes: 0,
    windowBytes: 0,
    results,
  });
  const tablePlace: Place = { arena: 'table', table: 0, offset: 0 };
  return {
    mode: 'particle-major',
    target,
    thetaSize: THETA_SIZE,
    state: {
      leaves: [
        { offset: RECORD.flag, layout: { shape: [], strides: [], memory: 'u8' } },
        { offset: RECORD.n, layout: { shape: [], strides: [], memory: 'i32' } },
        { offset: RECORD.word, layout: { shape: [2], strides: [1], memory: 'i32' } },
        { offset: RECORD.x, layout: { shape: [2, 3], strides: X_STRIDES, memory: 'f32' } },
      ],
      bytes: RECORD.bytes,
    },
    tables: TABLES(table),
    init: planned(
      [
        call(
          init.kernel({ name: 'walk init', buffers: [...leaves, buffer('table', 'f32')], scalars: KEYS }),
          [...state, tablePlace],
          { stream: 'init', perStep: false, path: PATH },
        ),
      ],
      0,
    ),
    step: planned(
      [
        call(
          step.kernel({
            name: 'walk step',
            buffers: [
              ...leaves,
              buffer('table', 'f32'),
              buffer('theta', 'f32'),
              buffer('t', 'i32'),
              buffer('result', 'f32', true),
            ],
            scalars: KEYS,
          }),
          [...state, tablePlace, place('theta'), place('t'), place('result')],
          { stream: 'batch', perStep: true, path: PATH },
        ),
      ],
      3,
    ),
    finish: planned(
      [
        call(finish.kernel({ name: 'walk finish', buffers: [buffer('x', 'f32'), buffer('result', 'f32', true)] }), [
          state[3],
          place('result'),
        ]),
      ],
      1,
    ),
  };
}

/** Elements of a lane-major state: flag, n, word (2), x (6). */
const ELEMENT = { flag: 0, n: 1, word: 2, x: 4, all: 10 };

export function laneWalk(
  target: Target,
  { idle: rounds = 0, table = TABLE }: WalkOptions = {},
  maxSteps = 4,
): LaneMajorProgram {
  const vectors = 2;
  const lanes = vectors * target.lanes;
  const buffers = [
    buffer('theta', 'f32'),
    buffer('state', 'f32', true),
    buffer('ints', 'i32', true),
    buffer('result', 'f32', true),
    buffer('t', 'i32'),
    buffer('keys', 'i32'),
    buffer('table', 'f32'),
  ];
  const access = (b: NestBuilder, vector: number): Access => ({
    width: 'vector',
    load: (name, memory, element) => loadVector(name, memory, index(element * lanes + vector * target.lanes)),
    store: (name, memory, element, value) => {
      b.storeVector(name, memory, index(element * lanes + vector * target.lanes), value);
    },
  });
  const each = (b: NestBuilder, write: (lane: Access) => void): void => {
    for (let vector = 0; vector < vectors; vector++) write(access(b, vector));
  };
  const tableAt = (element: number): Expr => loadScalar('table', 'f32', index(element));

  const init = new NestBuilder();
  each(init, (lane) => {
    lane.store('ints', 'i32', ELEMENT.flag, i32(0));
    lane.store('ints', 'i32', ELEMENT.n, i32(0));
    // Streams are init, batch.
    for (const word of [0, 1]) lane.store('ints', 'i32', ELEMENT.word + word, lane.load('keys', 'i32', word));
    for (let e = 0; e < THETA_SIZE; e++) lane.store('state', 'f32', ELEMENT.x + e, tableAt(e));
  });

  const step = new NestBuilder();
  each(step, (lane) => {
    const sums = [0, 1, 2, 3].map(() => step.var(f32(0), 'vector'));
    const u32 = (e: Expr): Expr => convert('u32', e);
    step.loop('steps', (s) => {
      const nothing = step.let(idle(step, rounds, lane.load('theta', 'f32', 0)));
      const t = step.let(add(lane.load('t', 'i32', 0), { kind: 'position', index: s }));
      for (let e = 0; e < THETA_SIZE; e++) {
        lane.store(
          'state',
          'f32',
          ELEMENT.x + e,
          add(lane.load('state', 'f32', ELEMENT.x + e), lane.load('theta', 'f32', e)),
        );
      }
      lane.store('ints', 'i32', ELEMENT.n, add(lane.load('ints', 'i32', ELEMENT.n), t));
      lane.store('ints', 'i32', ELEMENT.flag, binary('xor', lane.load('ints', 'i32', ELEMENT.flag), i32(1)));
      const folded = step.threefry(
        [u32(lane.load('keys', 'i32', 2)), u32(lane.load('keys', 'i32', 3))],
        [u32(t), { kind: 'literal', type: 'u32', value: 0x9e3779b9 }],
        'vector',
      );
      folded.forEach((word, k) => {
        lane.store('ints', 'i32', ELEMENT.word + k, convert('i32', word));
      });
      const loss = step.let(
        add(add(lane.load('state', 'f32', ELEMENT.x), convert('f32', lane.load('ints', 'i32', ELEMENT.n))), nothing),
      );
      step.set(sums[0], add(sums[0], loss));
      step.set(sums[1], add(sums[1], lane.load('state', 'f32', ELEMENT.x + 5)));
      step.set(sums[2], add(sums[2], mul(tableAt(6), f32(0.5))));
      step.set(sums[3], loss);
    });
    sums.forEach((sum, k) => {
      lane.store('result', 'f32', k, sum);
    });
  });
  const finish = new NestBuilder();
  each(finish, (lane) => {
    lane.store('result', 'f32', 0, mul(lane.load('state', 'f32', ELEMENT.x), f32(2)));
  });
  return {
    mode: 'lane-major',
    target,
    vectors,
    thetaSize: THETA_SIZE,
    state: {
      leaves: [
        { offset: ELEMENT.flag, size: 1, memory: 'i32' },
        { offset: ELEMENT.n, size: 1, memory: 'i32' },
        { offset: ELEMENT.word, size: 2, memory: 'i32' },
        { offset: ELEMENT.x, size: 6, memory: 'f32' },
      ],
      elements: ELEMENT.all,
    },
    streams: ['init', 'batch'],
    tables: TABLES(table),
    init: init.kernel({ name: 'walk init', buffers }),
    step: step.kernel({ name: 'walk step', buffers, scalars: [{ name: 'steps', type: 'i32' }] }),
    finish: finish.kernel({ name: 'walk finish', buffers }),
    maxSteps,
  };
}

/** One particle of the walk in plain JavaScript. */
export class Walker {
  readonly x = Float32Array.from(TABLE.subarray(0, THETA_SIZE));
  n = 0;
  flag = 0;
  t = 0;
  word: Key;

  constructor(
    readonly mode: 'particle-major' | 'lane-major',
    readonly seed: number,
    readonly worker: number,
    readonly episode: number,
  ) {
    this.word = this.path(episodeKey(seed, 'init', worker, episode));
  }

  /** Loss and the two metrics; subnormal numbers count as zero. */
  step(theta: ArrayLike<number>): number[] {
    for (let e = 0; e < THETA_SIZE; e++) this.x[e] += Math.fround(theta[e]);
    this.n += this.t;
    this.flag ^= 1;
    this.word = this.path(foldIn(episodeKey(this.seed, 'batch', this.worker, this.episode), this.t));
    this.t += 1;
    return [Math.fround(this.x[0] + this.n), this.x[5], 0];
  }

  /** State as `save` lists it. */
  get state(): Readonly<Record<string, readonly number[]>> {
    return {
      'state.flag': [this.flag],
      'state.n': [this.n],
      'state.word': [...Int32Array.from(this.word)],
      'state.x': [...this.x],
    };
  }

  private path(key: Key): Key {
    return this.mode === 'lane-major' ? key : PATH.reduce(foldIn, key);
  }
}

/** The walk for the compiler's own target, which the engine's fingerprint names. */
export async function compileWalk(
  engine: NativeEngine,
  mode: Mode,
  options?: WalkOptions,
): Promise<NativeUnrollProgram> {
  const lanes = Number(engine.fingerprint.lanes) as 4 | 8 | 16;
  const target = { lanes, registers: lanes === 16 ? 32 : 16 } as const;
  return engine.compileNative(
    WALK,
    mode === 'particle-major' ? particleWalk(target, options) : laneWalk(target, options),
  );
}
