import * as fc from 'fast-check';
import { GraphBuilder } from '../../src/graph/builder';
import { interpret, stepContext } from '../../src/graph/interpreter';
import { sizeOf, type Graph, type ValueId } from '../../src/graph/ir';
import { align, placeBuffers } from '../../src/engines/native/plan/arena';
import { analyse } from '../../src/engines/native/plan/analysis';
import { fuse } from '../../src/engines/native/plan/fuse';
import { storesOf } from '../../src/engines/native/plan/memory';
import { orderGroups } from '../../src/engines/native/plan/order';
import { spanOf, viewOf } from '../../src/engines/native/plan/views';
import { optimiseForWindows } from '../../src/engines/native/passes';
import { randomGraphs } from '../support/random-graph';

const f32 = (...shape: number[]) => ({ shape, dtype: 'float32' as const });

describe('views', () => {
  /** Any view op on a value of shape [4, 6]. */
  const views: Readonly<Record<string, (b: GraphBuilder, x: ValueId) => ValueId>> = {
    identity: (b, x) => b.op('identity', x),
    transpose: (b, x) => b.transpose(x, [1, 0]),
    'slice with a step': (b, x) => b.emit('slice', [x], { begin: [1, 0], size: [2, 3], strides: [1, 2] }),
    broadcast: (b, x) => b.broadcast(x, [3, 4, 6]),
    'broadcast of an axis of one': (b, x) => b.broadcast(b.reshape(x, [4, 1, 6]), [4, 5, 6]),
    'reshape that splits': (b, x) => b.reshape(x, [2, 2, 3, 2]),
    'reshape that merges': (b, x) => b.reshape(x, [24]),
    'reshape that adds an axis': (b, x) => b.reshape(x, [4, 1, 6, 1]),
  };
  const layouts = { dense: [6, 1], padded: [8, 1], 'by columns': [1, 4], 'by columns, padded': [1, 5] };

  test.each(
    Object.keys(views).flatMap((view) =>
      Object.keys(layouts).map((layout) => [view, layout as keyof typeof layouts] as const),
    ),
  )('%s, base %s: the elements that the interpreter gives', (view, name) => {
    const b = new GraphBuilder('g');
    const x = b.input('x', f32(4, 6));
    const graph = b.finish([views[view](b, x)]);
    let layout = {
      shape: [4, 6] as readonly number[],
      strides: layouts[name] as readonly number[],
      memory: 'f32' as const,
    };
    // The base holds in every element its own number.
    const values = Float64Array.from({ length: 24 }, (_, i) => i);
    const memory = new Float64Array(spanOf(layout)).fill(NaN);
    values.forEach((value, i) => (memory[Math.floor(i / 6) * layout.strides[0] + (i % 6) * layout.strides[1]] = value));
    let offset = 0;
    let regular = true;
    for (const node of graph.nodes) {
      if (node.op === 'input') continue;
      const seen = viewOf(node, layout);
      if (seen === undefined) {
        regular = false;
        break;
      }
      layout = { ...seen.layout, memory: 'f32' };
      offset += seen.offset;
    }
    // Two axes become one only where no padding lies between them and they stand in this order.
    expect(regular).toBe(view !== 'reshape that merges' || name === 'dense');
    if (!regular) return;
    const [expected] = interpret(graph, [values], stepContext(0, 0, 0, 0));
    const strides = layout.strides;
    const got = Array.from({ length: sizeOf(layout.shape) }, (_, i) => {
      let rest = i;
      let at = offset;
      for (let axis = layout.shape.length - 1; axis >= 0; axis--) {
        at += (rest % layout.shape[axis]) * strides[axis];
        rest = Math.floor(rest / layout.shape[axis]);
      }
      return memory[at];
    });
    expect(got).toEqual(Array.from(expected));
  });
});

describe('arena', () => {
  test('buffers that live at the same time never overlap; those that do not may', () => {
    const lifetime = fc.record({ bytes: fc.nat(1000), from: fc.nat(20), length: fc.nat(6) });
    fc.assert(
      fc.property(fc.array(lifetime, { maxLength: 25 }), (list) => {
        const lifetimes = list.map(({ bytes, from, length }) => ({ bytes, from, to: from + length }));
        const { offsets, bytes } = placeBuffers(lifetimes);
        lifetimes.forEach((a, i) => {
          expect(offsets[i] % 64).toBe(0);
          expect(offsets[i] + a.bytes).toBeLessThanOrEqual(bytes);
          lifetimes.slice(0, i).forEach((b, j) => {
            if (a.from > b.to || b.from > a.to || a.bytes === 0 || b.bytes === 0) return;
            expect(offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i]).toBe(true);
          });
        });
        expect(bytes).toBeLessThanOrEqual(lifetimes.reduce((sum, one) => sum + align(one.bytes), 0));
      }),
      { numRuns: 200, seed: 3 },
    );
  });

  test('two buffers one after another share a place', () => {
    const lifetimes = [
      { bytes: 640, from: 0, to: 1 },
      { bytes: 640, from: 2, to: 3 },
    ];
    expect(placeBuffers(lifetimes)).toEqual({ offsets: [0, 0], bytes: 640 });
  });
});

describe('fusion', () => {
  test('of random graphs: every needed node in one group, no two groups need each other', () => {
    fc.assert(
      fc.property(randomGraphs({ domain: 'any' }), ({ graph: raw }) => {
        const graph = optimiseForWindows(raw);
        const analysis = analyse(graph, true);
        const grouping = fuse(analysis);
        const { groups } = orderGroups(grouping, []);
        // A cycle would leave groups out.
        expect(groups.length).toBe(grouping.groups.length);
        const homes = graph.nodes.map((_, id) => groups.filter(({ members }) => members.has(id)).length);
        graph.nodes.forEach((_, id) => {
          if (analysis.status[id] === 'computed') expect(homes[id]).toBe(1);
        });
        // Whatever a group reads was stored by an earlier one, or is resident.
        const stored = new Set<ValueId>();
        for (const group of groups) {
          for (const member of group.members) {
            for (const operand of graph.nodes[member].inputs) {
              let base = operand;
              while (!group.members.has(base) && analysis.status[base] === 'view') base = graph.nodes[base].inputs[0];
              if (group.members.has(base) || analysis.status[base] !== 'computed') continue;
              expect(stored.has(base)).toBe(true);
            }
          }
          for (const id of storesOf(grouping, group)) stored.add(id);
        }
      }),
      { numRuns: 300, seed: 11 },
    );
  });

  const summary = (graph: Graph): string[] => {
    const analysis = analyse(graph, true);
    const grouping = fuse(analysis);
    const op = (id: ValueId): string => graph.nodes[id].op;
    return orderGroups(grouping, []).groups.map((group) => {
      const members = [...group.members].sort((a, b) => a - b).map(op);
      return `${group.kind}: ${members.join(' ')} -> ${storesOf(grouping, group).map(op).join(' ')}`;
    });
  };

  test('the update of a parameter runs in the epilogue of its gradient', () => {
    // Why: the parameter and its momentum pass through the cache once a step (native-notes: 2.5–5 % of a window).
    const b = new GraphBuilder('step');
    const rate = b.op('exp', b.input('theta.rate', f32()));
    const w = b.input('state.w', f32(40, 30));
    const v = b.input('state.v', f32(40, 30));
    const x = b.input('state.x', f32(20, 40));
    const d = b.input('state.d', f32(20, 30));
    const gradient = b.emit('matmul', [x, d], { transposeA: true, transposeB: false });
    const velocity = b.binary('add', b.binary('mul', v, b.fill(0.9, [])), gradient);
    const next = b.binary('sub', w, b.binary('mul', rate, velocity));
    expect(summary(b.finish([next, velocity]))).toEqual([
      'map: exp -> exp',
      'product: matmul mul add mul sub -> add sub',
    ]);
  });

  test('softmax and its gradient are one chain of rows', () => {
    // Why: ten classes do not fill a vector; a batch of rows does.
    const b = new GraphBuilder('step');
    const logits = b.input('state.z', f32(32, 10));
    const top = b.reshape(b.emit('reduceMax', [logits], { axes: [1] }), [32, 1]);
    const powers = b.op('exp', b.binary('sub', logits, top));
    const soft = b.binary('div', powers, b.reshape(b.reduceSum(powers, [1]), [32, 1]));
    const bias = b.reduceSum(soft, [0]);
    expect(summary(b.finish([soft, bias]))).toEqual([
      'rows: reduceMax reshape broadcast sub exp reduceSum reshape broadcast div reduceSum -> div reduceSum',
    ]);
  });

  test('a state that is read again later is not fused across its own reader', () => {
    // a·b feeds c, c feeds the sum that also needs a·b: one kernel cannot hold both ends of the way through c.
    const b = new GraphBuilder('step');
    const x = b.input('state.x', f32(20, 20));
    const first = b.emit('matmul', [x, x], { transposeA: false, transposeB: false });
    const second = b.emit('matmul', [first, x], { transposeA: false, transposeB: false });
    expect(summary(b.finish([b.op('add', first, second)]))).toEqual([
      'product: matmul -> matmul',
      'product: matmul add -> add',
    ]);
  });
});
