import * as fc from 'fast-check';
import { GraphError } from '../../src/contracts';
import { GraphBuilder } from '../../src/graph/builder';
import { OP_NAMES } from '../../src/graph/infer';
import { interpret, stepContext, type Value } from '../../src/graph/interpreter';
import type { Graph, OpName, ValueId } from '../../src/graph/ir';
import {
  canonicalise,
  dropGradientMarkers,
  eliminateCommonSubexpressions,
  eliminateDeadCode,
  foldConstants,
  MAX_FOLDED_ELEMENTS,
  optimise,
  runPasses,
  simplify,
} from '../../src/graph/passes';
import { printGraph } from '../../src/graph/print';
import { verifyGraph } from '../../src/graph/verify';
import { contextOf, GENERATED_OPS, randomGraphs, type RandomGraph } from '../support/random-graph';

const CONTEXT = stepContext(1, 2, 3, 4);

/** Element by element with Object.is: NaN equals NaN, 0 does not equal −0. */
function expectSameBits(actual: readonly Value[], expected: readonly Value[]): void {
  expect(actual.length).toBe(expected.length);
  actual.forEach((value, i) => {
    expect(Array.from(value)).toEqual(Array.from(expected[i]));
  });
}

function countOps(graph: Graph): number {
  return graph.nodes.filter((node) => node.op !== 'input').length;
}

/** A graph of one float32 [3] input x, float32 [3] input y and int32 [3] input n. */
function graphOf(make: (b: GraphBuilder, x: ValueId, y: ValueId, n: ValueId) => ValueId | readonly ValueId[]): Graph {
  const b = new GraphBuilder('g');
  const x = b.input('x', { shape: [3], dtype: 'float32' });
  const y = b.input('y', { shape: [3], dtype: 'float32' });
  const n = b.input('n', { shape: [3], dtype: 'int32' });
  return b.finish([make(b, x, y, n)].flat());
}

describe('on random graphs', () => {
  const passes = [
    { name: 'canonicalise', run: (g: Graph) => runPasses(g, [canonicalise]), floats: 'float64' },
    { name: 'cse', run: (g: Graph) => runPasses(g, [eliminateCommonSubexpressions]), floats: 'float64' },
    { name: 'dce', run: (g: Graph) => runPasses(g, [eliminateDeadCode]), floats: 'float64' },
    { name: 'drop-gradient-markers', run: (g: Graph) => runPasses(g, [dropGradientMarkers]), floats: 'float64' },
    // Folding rounds to float32, so the graph is held against itself rounded after every op.
    { name: 'fold', run: (g: Graph) => runPasses(g, [foldConstants]), floats: 'float32' },
    { name: 'simplify', run: simplify, floats: 'float32' },
    { name: 'optimise', run: optimise, floats: 'float32' },
  ] as const;

  test.each(passes)('$name preserves every bit, NaN, infinities and −0 included', ({ run, floats }) => {
    fc.assert(
      fc.property(randomGraphs({ domain: 'any' }), (random) => {
        const after = run(random.graph);
        const evaluate = (graph: Graph): Value[] => interpret(graph, random.feeds, contextOf(random), { floats });
        expectSameBits(evaluate(after), evaluate(random.graph));
        expect(after.inputs.map((id) => after.nodes[id].attributes)).toEqual(
          random.graph.inputs.map((id) => random.graph.nodes[id].attributes),
        );
      }),
      { seed: 20260101, numRuns: 300 },
    );
  });

  test('optimise is idempotent and never adds ops', () => {
    fc.assert(
      fc.property(randomGraphs({ domain: 'any' }), ({ graph }) => {
        const once = optimise(graph);
        expect(printGraph(optimise(once))).toBe(printGraph(once));
        expect(countOps(once)).toBeLessThanOrEqual(countOps(graph));
      }),
      { seed: 20260102, numRuns: 200 },
    );
  });

  test('the generator reaches every op, in both domains', () => {
    for (const domain of ['any', 'tame'] as const) {
      const seen = new Set<OpName>();
      for (const { graph } of fc.sample(randomGraphs({ domain }), { seed: 3, numRuns: 300 })) {
        for (const node of graph.nodes) seen.add(node.op);
        verifyGraph(graph, 'the generator');
      }
      expect(OP_NAMES.filter((op) => !seen.has(op))).toEqual([]);
    }
    expect(GENERATED_OPS).toHaveLength(OP_NAMES.length - 1);
  });

  test('tame graphs stay finite and moderate, and float32 follows float64', () => {
    const check = (random: RandomGraph): void => {
      const wide = interpret(random.graph, random.feeds, contextOf(random));
      const narrow = interpret(random.graph, random.feeds, contextOf(random), { floats: 'float32' });
      wide.forEach((value, i) => {
        value.forEach((x, j) => {
          expect(Number.isFinite(x)).toBe(true);
          expect(Math.abs(x)).toBeLessThan(1e5);
          // Up to 24 ops, each of a condition number of at most a few tens, on 2⁻²⁴ of rounding.
          expect(Math.abs(x - narrow[i][j])).toBeLessThanOrEqual(1e-3 * Math.max(1, Math.abs(x)));
        });
      });
    };
    fc.assert(fc.property(randomGraphs({ domain: 'tame' }), check), { seed: 20260103, numRuns: 300 });
  });
});
