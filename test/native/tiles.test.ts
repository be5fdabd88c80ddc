/** Functions over many rows in tiles: the graphs that they become, interpreted, and the plan, run nest by nest and compiled. */
import * as fc from 'fast-check';
import { arrayDataset } from '../../datasets';
import { sgd } from '../../learned-optimizers';
import { meta, type DataTable } from '../../src/contracts';
import { NativeEngine } from '../../src/engines/native/engine';
import { optimiseForWindows } from '../../src/engines/native/passes';
import { bytesOfRow, splitRows, type RowTiles, type TileLimits } from '../../src/engines/native/passes/tile-rows';
import { lowerProgram } from '../../src/engines/native/plan';
import type { ParticleMajorProgram, Place, ProgramTable } from '../../src/engines/native/plan/program';
import { GraphBuilder } from '../../src/graph/builder';
import { inline } from '../../src/graph/inline';
import { interpret, stepContext, type Value } from '../../src/graph/interpreter';
import { sizeOf, type Graph, type ValueId } from '../../src/graph/ir';
import { traceProblem } from '../../src/graph/trace';
import type { TracedProblem } from '../../src/graph/program';
import { unroll } from '../../src/outer';
import { bits } from '../../src/random';
import { mlp } from '../../tasks';
import { f32, handBuilt, i32 } from '../support/engine-problems';
import { describeNative } from '../support/native';
import { contextOf, randomGraphs } from '../support/random-graph';
import { TARGETS } from '../support/nest-fragment';
import { runNest, type NestBuffer } from '../support/nest-interpreter';
import { stepsAgainstReference } from '../support/reference-steps';

const CONTEXT = stepContext(1, 2, 3, 4);
/** Whatever can be split, in tiles of one row. */
const ALWAYS: TileLimits = { from: 0, tile: 1, kept: Infinity, repeated: Infinity };

function tableOf(rows: number, rowShape: readonly number[], below: number, dtype: DataTable['dtype']): DataTable {
  const words = bits([rows, below], rows * sizeOf(rowShape));
  const numbers = Array.from(words, (word) => word % below);
  const values =
    dtype === 'uint8'
      ? Uint8Array.from(numbers)
      : dtype === 'int32'
        ? Int32Array.from(numbers)
        : Float32Array.from(numbers);
  return { name: `tiles-${rows}-${rowShape.join('x')}-${below}-${dtype}`, rows, rowShape, dtype, values };
}

/** What a graph returns when it is run tile by tile. */
function runTiles(graph: Graph, tiles: RowTiles, feeds: readonly Value[], context = CONTEXT): Value[] {
  const runs = tiles.bodies.flatMap(({ rows, first, count, graph: body }) =>
    Array.from({ length: count }, (_, tile) => {
      const parts = tiles.rows.map(({ source, first: skipped }): Value => {
        const width = sizeOf(source.type.shape.slice(1));
        const from = (skipped + first + tile * rows) * width;
        const values = source.op === 'table' ? source.attributes.table.values : source.attributes.data;
        const part = values.subarray(from, from + rows * width);
        expect(part).toHaveLength(rows * width);
        expect(bytesOfRow(source)).toBe(width * values.BYTES_PER_ELEMENT);
        return part instanceof Float32Array ? Float64Array.from(part) : part;
      });
      return interpret(body, [...feeds, ...parts], context);
    }),
  );
  const stacked = tiles.partials.map((_, n): Value => {
    const each = runs.map((outputs) => Array.from(outputs[n])).flat();
    return runs[0][n] instanceof Int32Array ? Int32Array.from(each) : Float64Array.from(each);
  });
  expect(tiles.rest.inputs).toHaveLength(graph.inputs.length + tiles.partials.length);
  return interpret(tiles.rest, [...feeds, ...stacked], context);
}

const plain = (b: GraphBuilder, x: ValueId, w: ValueId): ValueId =>
  b.emit('matmul', [x, w], { transposeA: false, transposeB: false });
const relu = (b: GraphBuilder, x: ValueId): ValueId => {
  const zero = b.zeros(b.type(x));
  return b.select(b.op('le', x, zero), zero, x);
};

/** A classifier and what else might be asked of its rows; all numbers are small integers or halves, so that sums are exact. */
function outputsOf(b: GraphBuilder, rows: number, w: ValueId, v: ValueId): Record<string, ValueId> {
  const x = b.binary('sub', b.cast(b.table(tableOf(rows, [5], 9, 'uint8')), 'float32'), b.fill(4, []));
  const h = relu(b, b.binary('add', plain(b, x, w), b.fill(-3, [])));
  const logits = plain(b, h, v);
  const labels = b.cast(b.table(tableOf(rows, [], 3, 'uint8')), 'int32');
  const hits = b.op('eq', b.emit('argMax', [logits], { axis: 1 }), labels);
  const extreme = b.emit('reduceMax', [logits], { axes: [0] });
  const names = b.emit('gather', [b.table(tableOf(3, [2], 100, 'int32')), labels], {});
  const weights = b.constant(
    Float32Array.from({ length: rows }, (_, i) => i % 4),
    [rows],
    'float32',
  );
  const later = b.emit('slice', [b.table(tableOf(rows + 7, [2], 50, 'float32'))], {
    begin: [5, 0],
    size: [rows, 2],
    strides: [1, 1],
  });
  const around = b.emit('pad', [later], { low: [0, 1], high: [0, 0], interior: [0, 1] });
  const columns = b.emit('concat', [b.emit('reverse', [around], { axes: [1] }), logits], { axis: 1 });
  const cube = b.emit(
    'transpose',
    [b.reshape(b.emit('slice', [columns], { begin: [0, 0], size: [rows, 6], strides: [1, 1] }), [rows, 2, 3])],
    { perm: [0, 2, 1] },
  );
  const squares = b.emit('matmul', [cube, cube], { transposeA: true, transposeB: false });
  const places = b.emit('iota', [], { shape: [rows, 3], axis: 1 });
  const target = b.op('eq', b.broadcast(b.reshape(labels, [rows, 1]), [rows, 3]), places);
  return {
    hits: b.reduceSum(b.cast(hits, 'float32'), [0]),
    mean: b.binary('div', b.reduceSum(logits, [0, 1]), b.fill(64, [])),
    most: extreme,
    least: b.emit('reduceMin', [b.emit('reduceSum', [logits], { axes: [1] })], { axes: [0] }),
    names: b.emit('reduceSum', [names], { axes: [0] }),
    weighted: b.reduceSum(b.op('mul', weights, b.emit('reduceMax', [h], { axes: [1] })), [0]),
    squares: b.emit('reduceSum', [squares], { axes: [0] }),
    target: b.reduceSum(b.select(target, logits, b.zeros(b.type(logits))), [0]),
    any: b.cast(b.emit('reduceMax', [b.cast(hits, 'int32')], { axes: [0] }), 'bool'),
    state: b.binary('add', b.reduceSum(w, [0]), b.fill(1, [])),
  };
}

/** Small integers. */
const numbers = (size: number, seed: number): Float64Array =>
  Float64Array.from(bits([seed, 0], size), (word) => (word % 5) - 2);

describe('graphs', () => {
  const build = (rows: number): { readonly graph: Graph; readonly feeds: Value[] } => {
    const b = new GraphBuilder('finish');
    const [w, v] = [b.input('w', f32(5, 4)), b.input('v', f32(4, 3))];
    return { graph: b.finish(Object.values(outputsOf(b, rows, w, v))), feeds: [numbers(20, 1), numbers(12, 2)] };
  };
  const rowsOf = ({ bodies }: RowTiles): (readonly [number, number])[] =>
    bodies.map(({ rows, count }) => [rows, count]);

  test.each([
    [24, 'a divisor', [[4, 6]]],
    [
      23,
      'no divisor, what is left is a tile of its own',
      [
        [4, 5],
        [3, 1],
      ],
    ],
  ] as const)('%i rows, %s: every output as in full', (rows, _, expected) => {
    const { graph, feeds } = build(rows);
    const wide = splitRows(graph, ALWAYS)!;
    expect(wide.bodies.map(({ count }) => count)).toEqual([rows]);
    // The widest row of values needed at once is known from tiles of one row: as many bytes as make four.
    let tile = 1;
    let tiles = wide;
    while (tiles.bodies[0].rows < 4) tiles = splitRows(graph, { ...ALWAYS, tile: (tile += 4) })!;
    expect(rowsOf(tiles)).toEqual(expected);
    for (const each of [tiles, wide]) expect(runTiles(graph, each, feeds)).toEqual(interpret(graph, feeds, CONTEXT));
    // After all passes, too.
    const optimised = optimiseForWindows(graph);
    const after = splitRows(optimised, { ...ALWAYS, tile })!;
    expect(runTiles(optimised, after, feeds)).toEqual(interpret(graph, feeds, CONTEXT));
    // Nothing of many rows is left.
    for (const { shape } of after.rest.nodes.map(({ type }) => type)) expect(shape[0] ?? 0).toBeLessThan(rows);
  });

  test('what takes little memory stays as it is', () => {
    const { graph } = build(24);
    expect(splitRows(graph)).toBeUndefined();
    expect(splitRows(graph, { ...ALWAYS, tile: 2 ** 20 })).toBeUndefined();
  });

  test('two splits in one function: one after the other', () => {
    const b = new GraphBuilder('finish');
    const w = b.input('w', f32(5, 2));
    const sum = (rows: number): ValueId =>
      b.reduceSum(plain(b, b.cast(b.table(tableOf(rows, [5], 9, 'uint8')), 'float32'), w), [0]);
    const graph = b.finish([b.op('div', sum(12), sum(30))]);
    const feeds = [numbers(10, 3)];
    const first = splitRows(graph, ALWAYS)!;
    const second = splitRows(first.rest, ALWAYS)!;
    expect([first, second].map(({ bodies }) => bodies[0].count)).toEqual([30, 12]);
    expect(splitRows(second.rest, ALWAYS)).toBeUndefined();
    expect(runTiles(graph, first, feeds)).toEqual(interpret(graph, feeds, CONTEXT));
  });

  const x = (b: GraphBuilder): ValueId => b.cast(b.table(tableOf(12, [5], 9, 'uint8')), 'float32');
  const draw = (b: GraphBuilder, shape: number[]): ValueId =>
    b.emit('random', [], { stream: 'user', perStep: false, path: [], distribution: { name: 'uniform' }, shape });
  const column = (b: GraphBuilder, n: number, shape: number[]): ValueId => b.fill(n, shape);
  /** Each with a sum at its end that could be made in tiles, if what is before it could. */
  const refused: Readonly<Record<string, (b: GraphBuilder) => ValueId[]>> = {
    'rows are returned': (b) => [b.reduceSum(x(b), [0]), b.reduceSum(x(b), [1])],
    'rows meet their own mean': (b) => {
      const mean = b.reduceSum(x(b), [0]);
      return [b.reduceSum(b.op('abs', b.op('sub', x(b), b.broadcast(mean, [12, 5]))), [0])];
    },
    'a draw for every row': (b) => [b.reduceSum(b.op('mul', x(b), draw(b, [12, 5])), [0])],
    'a state for every row': (b) => [b.reduceSum(b.op('mul', x(b), b.input('state', f32(12, 5))), [0])],
    'the place of a row': (b) => {
      const place = b.cast(b.emit('iota', [], { shape: [12, 5], axis: 0 }), 'float32');
      return [b.reduceSum(b.op('mul', x(b), place), [0])];
    },
    'rows contracted': (b) => [b.emit('matmul', [x(b), x(b)], { transposeA: true, transposeB: false })],
    'rows against rows': (b) => [
      b.reduceSum(b.emit('matmul', [x(b), x(b)], { transposeA: false, transposeB: true }), [0]),
    ],
    'rows as columns': (b) => [b.reduceSum(b.transpose(x(b), [1, 0]), [1]), b.reduceSum(x(b), [0])],
    'rows merged with others': (b) => [b.reduceSum(b.reshape(x(b), [6, 10]), [0])],
    'rows upside down': (b) => [b.reduceSum(b.op('mul', x(b), b.emit('reverse', [x(b)], { axes: [0] })), [0])],
    'every second row': (b) => [
      b.reduceSum(b.emit('slice', [x(b)], { begin: [0, 0], size: [6, 5], strides: [2, 1] }), [0]),
    ],
    'rows between others': (b) => [
      b.reduceSum(b.emit('pad', [x(b)], { low: [1, 0], high: [0, 0], interior: [0, 0] }), [0]),
    ],
    'rows after others': (b) => [b.reduceSum(b.emit('concat', [x(b), column(b, 1, [1, 5])], { axis: 0 }), [0])],
    'the best row': (b) => [b.emit('argMax', [x(b)], { axis: 0 })],
    'rows by index': (b) => [b.reduceSum(b.emit('gather', [x(b), b.input('which', i32(2))], {}), [0])],
    'rows scattered': (b) => {
      const to = b.cast(b.table(tableOf(12, [], 3, 'uint8')), 'int32');
      return [b.reduceSum(b.emit('scatterAdd', [to, x(b)], { rows: 4 }), [0])];
    },
    'each row against all': (b) => {
      const labels = b.cast(b.table(tableOf(12, [], 3, 'uint8')), 'float32');
      return [b.reduceSum(b.broadcast(labels, [12, 12]), [0])];
    },
  };

  test('is split: the sum that those end with; not if its parts take as much as the rows', () => {
    const b = new GraphBuilder('finish');
    const graph = b.finish([b.reduceSum(x(b), [0])]);
    expect(runTiles(graph, splitRows(graph, ALWAYS)!, [])).toEqual(interpret(graph, [], CONTEXT));
    expect(splitRows(graph, { ...ALWAYS, kept: 0.99 })).toBeUndefined();
    expect(splitRows(graph, { ...ALWAYS, kept: 1 })).toBeDefined();
  });

  test('work that all rows share is not done in every tile, unless it is little', () => {
    const b = new GraphBuilder('finish');
    const w = b.input('w', f32(5, 5));
    const graph = b.finish([b.reduceSum(plain(b, x(b), plain(b, w, w)), [0])]);
    // w·w takes 125 multiply-adds; a row: its cast, a product of 25, a sum of 5.
    expect(splitRows(graph, { ...ALWAYS, repeated: 124 / 35 })).toBeUndefined();
    const tiles = splitRows(graph, { ...ALWAYS, repeated: 125 / 30 })!;
    expect(runTiles(graph, tiles, [numbers(25, 4)])).toEqual(interpret(graph, [numbers(25, 4)], CONTEXT));
  });

  test.each(Object.keys(refused))('stays as it is: %s', (name) => {
    const b = new GraphBuilder('finish');
    expect(splitRows(b.finish(refused[name](b)), ALWAYS)).toBeUndefined();
  });

  test('random graphs whose outputs are summed: right whenever they are split', () => {
    let split = 0;
    fc.assert(
      fc.property(randomGraphs({ domain: 'tame', maxOps: 10 }), (random) => {
        const b = new GraphBuilder('sums');
        const feeds = random.graph.inputs.map((id) => {
          const node = random.graph.nodes[id];
          return b.input(node.op === 'input' ? node.attributes.name : '', node.type);
        });
        const outputs = inline(b, random.graph, feeds).map((id) => {
          const numeric = b.type(id).dtype === 'float32' ? id : b.cast(id, 'float32');
          return b.reduceSum(numeric, [...b.shape(id).keys()]);
        });
        const context = contextOf(random);
        const one = (id: ValueId): Graph => optimiseForWindows(b.finish([id]));
        for (const graph of outputs.map(one)) {
          const tiles = splitRows(graph, ALWAYS);
          if (tiles === undefined) continue;
          split += 1;
          const [got] = runTiles(graph, tiles, random.feeds, context);
          const [expected] = interpret(graph, random.feeds, context);
          // A sum of a few numbers in two orders, float64.
          expect(Math.abs(got[0] - expected[0])).toBeLessThanOrEqual(1e-9 * Math.max(1, Math.abs(expected[0])));
        }
      }),
      { numRuns: 400, seed: 5 },
    );
    expect(split).toBeGreaterThan(20);
  });
});

/** finish: everything of `outputsOf`, as float32 numbers. */
function traced(rows: number): TracedProblem {
  return handBuilt({
    name: 'tiles',
    theta: { shift: f32() },
    state: { v: f32(4, 3), w: f32(5, 4) },
    init: (b) => {
      const integers = (size: number, seed: number, shape: number[]): ValueId =>
        b.constant(Float32Array.from(numbers(size, seed)), shape, 'float32');
      return { v: integers(12, 2, [4, 3]), w: integers(20, 1, [5, 4]) };
    },
    step: (b, _theta, state) => ({ state, loss: b.fill(0, []) }),
    finish: (b, { shift }, { v, w }) =>
      Object.fromEntries(
        Object.entries(outputsOf(b, rows, w, v)).map(([name, id]) => {
          const sum = b.cast(id, 'float32');
          return [name, b.binary('add', b.reduceSum(sum, [...b.shape(sum).keys()]), shift)];
        }),
      ),
  });
}

const SIZES = [24, 23, 61];
const LIMITS: TileLimits = { ...ALWAYS, tile: 400 };

function expected({ finish, finishes }: TracedProblem, shift: number): Record<string, number> {
  const feeds = [Float64Array.of(shift), numbers(12, 2), numbers(20, 1), Int32Array.of(0)];
  const outputs = interpret(finish!, feeds, CONTEXT);
  return Object.fromEntries(finishes.map((name, i) => [name, outputs[i][0]]));
}

describe('plans', () => {
  /** Runs `finish` nest by nest, on arenas in which nothing has been written yet. */
  function runFinish(program: ParticleMajorProgram, theta: number, state: readonly Float64Array[]): Float32Array {
    const { finish, tables, target } = program;
    const memory = (bytes: number): Uint8Array => new Uint8Array(bytes + 4096).fill(0xff);
    const arenas = {
      theta: memory(4),
      state: memory(program.state.bytes),
      window: memory(finish!.windowBytes),
      scratch: memory(finish!.scratchBytes),
      result: memory(4 * finish!.results),
      t: memory(4),
    };
    new Float32Array(arenas.theta.buffer).fill(theta, 0, 1);
    program.state.leaves.forEach(({ offset, layout: { shape, strides } }, leaf) => {
      const values = new Float32Array(arenas.state.buffer, offset);
      state[leaf].forEach((value, i) => {
        values[Math.floor(i / shape[1]) * strides[0] + (i % shape[1]) * strides[1]] = value;
      });
    });
    const data = (table: ProgramTable): NestBuffer => (table.kind === 'table' ? table.table.values : table.data);
    const bufferOf = (place: Place, type: 'f32' | 'i32' | 'u8', tile: number): NestBuffer => {
      const offset = place.offset + tile * (place.perTile ?? 0);
      if (place.arena === 'table') return data(tables[place.table]).subarray(offset / (type === 'u8' ? 1 : 4));
      const { buffer } = arenas[place.arena as keyof typeof arenas];
      if (type === 'u8') return new Uint8Array(buffer, offset);
      return type === 'f32' ? new Float32Array(buffer, offset) : new Int32Array(buffer, offset);
    };
    for (const { count, calls } of [...(finish!.tiles ?? []), { count: 1, calls: finish!.calls }]) {
      for (let tile = 0; tile < count; tile++) {
        for (const { kernel, places } of calls) {
          const buffers = kernel.buffers.map(({ memory: type }, i) => bufferOf(places[i], type, tile));
          runNest(kernel, buffers, [], { lanes: target.lanes });
        }
      }
    }
    return new Float32Array(arenas.result.buffer, 0, finish!.results);
  }

  test.each(SIZES)('%i rows: places and kernels, without a compiler', (rows) => {
    const problem = traced(rows);
    for (const target of TARGETS) {
      const program = lowerProgram(problem, target, { mode: 'particle-major', tiles: LIMITS });
      if (program.mode !== 'particle-major') throw new Error('expected particle-major');
      expect(program.finish!.tiles!.length).toBe(rows === 24 ? 1 : 2);
      const got = runFinish(program, 0.5, [numbers(12, 2), numbers(20, 1)]);
      expect(Object.fromEntries(problem.finishes.map((name, i) => [name, got[i]]))).toEqual(expected(problem, 0.5));
    }
  });
});

describeNative('compiled', () => {
  let engine: NativeEngine;
  beforeAll(async () => {
    engine = await NativeEngine.open({ threads: 2 });
  }, 60_000);
  afterAll(() => engine.dispose());

  test.each(SIZES)('%i rows: exact sums are exact', async (rows) => {
    const problem = traced(rows);
    const program = await engine.compileTraced(problem, { mode: 'particle-major', tiles: LIMITS });
    const population = await program.createPopulation({ size: 3, seed: 1 });
    const particles = Int32Array.of(0, 1, 2);
    const perturbation = { form: 'explicit', thetas: Float64Array.of(0.5, -2, 8) } as const;
    await population.reset({ particles, workers: particles, episodes: particles, perturbation });
    const ends = await population.finish({ particles, perturbation });
    perturbation.thetas.forEach((shift, p) => {
      const got = Object.fromEntries(Object.entries(ends).map(([name, column]) => [name, column[p]]));
      expect(got).toEqual(expected(problem, shift));
    });
    await program.dispose();
  });

  test('the evaluation of an MLP on 2003 rows of 600 numbers: as the reference has it, in a fifth of its memory', async () => {
    const [rows, width, classes] = [2003, 600, 7];
    const part = (count: number) => {
      const xs = Uint8Array.from(bits([count, 1], count * width), (word) => word % 256);
      return { xs, ys: Array.from({ length: count }, (_, i) => (xs[i * width] + xs[i * width + 1]) % classes) };
    };
    const data = arrayDataset({
      splits: { train: part(64), validation: part(32), test: part(rows) },
      inputShape: [width],
      classes,
      decode: { scale: 1 / 128, offset: -1 },
    });
    const problem = unroll({
      task: mlp({ data, hidden: [16, 8], activation: 'relu', batchSize: 16 }),
      optimizer: sgd({ momentum: 0.9, learningRate: meta.log(0.05) }),
      objective: { metric: 'loss', split: 'validation', over: 'sum' },
      horizon: 4,
    });
    const evaluation = problem.evaluation!.problem;
    const program = await engine.compileTraced(traceProblem(evaluation));
    if (program.native.mode !== 'particle-major') throw new Error('expected particle-major');
    expect(program.native.finish!.tiles!.length).toBeGreaterThan(0);
    expect(program.driver.scratch.finish).toBeLessThan((4 * rows * width) / 5);
    await program.dispose();
    expect(await stepsAgainstReference(engine, evaluation, 2, 1)).toEqual([]);
  }, 60_000);
});
