/** Loop nests: building, printing, checking, joining equal ones, and running them in JavaScript. */
import {
  add,
  addIndex,
  across,
  binary,
  convert,
  f32,
  fma,
  i32,
  index,
  loadScalar,
  loadVector,
  mul,
  NestBuilder,
  position,
  ramp,
  read,
  scaleIndex,
  select,
  shiftIndex,
  substituteIndex,
  u32,
  unary,
  variableIndex,
} from '../../src/engines/native/nest/builder';
import { tableOf } from '../../src/engines/native/nest/dedupe';
import { LOCAL_BYTES } from '../../src/engines/native/nest/ir';
import type { BufferParameter, Expr, Index, Kernel, Statement, Target } from '../../src/engines/native/nest/ir';
import { printKernel } from '../../src/engines/native/nest/print';
import { typeOf } from '../../src/engines/native/nest/types';
import { NestError, verifyKernel } from '../../src/engines/native/nest/verify';
import { floatLiteral, originOfLine, renderKernel, renderKernels } from '../../src/engines/native/render/c';
import { fusedFloat32, runNest } from '../support/nest-interpreter';

const TARGET: Target = { lanes: 4, registers: 16 };
const IN_OUT: readonly BufferParameter[] = [
  { name: 'x', memory: 'f32', written: false },
  { name: 'y', memory: 'f32', written: true },
];

/** y = x·scale over 10 numbers, by vectors and a rest. */
function scaling(name = 'scaling', prefix = 'x', scale = 2): Kernel {
  const nest = new NestBuilder();
  nest.note(`made for ${name}`);
  nest.loop(
    8,
    (i) => {
      const value = nest.let(loadVector('x', 'f32', i), prefix);
      nest.storeVector('y', 'f32', i, mul(value, f32(scale)));
    },
    { step: 4, prefix: `${prefix}i` },
  );
  nest.storeVector('y', 'f32', index(8), mul(loadVector('x', 'f32', index(8), { count: 2 }), f32(scale)), { count: 2 });
  return nest.kernel({ name, buffers: IN_OUT });
}

describe('indices', () => {
  it('are added, scaled, shifted and substituted', () => {
    const i = variableIndex('i');
    const at = addIndex(scaleIndex(shiftIndex(i, 2), 10), index(1, { i: 5, j: 3 }));
    expect(at).toEqual({
      offset: 21,
      terms: [
        { variable: 'i', factor: 15 },
        { variable: 'j', factor: 3 },
      ],
    });
    expect(addIndex(at, index(0, { j: -3 }))).toEqual(index(21, { i: 15 }));
    // i = 2k + 1
    expect(substituteIndex(at, 'i', index(1, { k: 2 }))).toEqual(index(36, { k: 30, j: 3 }));
  });
});

describe('the builder', () => {
  it('writes no loop of one round and none of none', () => {
    const nest = new NestBuilder();
    nest.loop(4, (i) => nest.storeVector('y', 'f32', i, f32(1)), { step: 4 });
    nest.loop(0, (i) => nest.storeVector('y', 'f32', i, f32(1)));
    expect(nest.statements).toMatchObject([{ kind: 'store', index: { offset: 0, terms: [] } }]);
  });

  it('knows types and widths', () => {
    const vector = loadVector('bytes', 'u8', index());
    expect(typeOf(vector)).toEqual({ type: 'i32', width: 'vector' });
    expect(typeOf(binary('lt', f32(1), convert('f32', vector)))).toEqual({ type: 'mask', width: 'vector' });
    expect(typeOf(unary('isNan', f32(1)))).toEqual({ type: 'mask', width: 'scalar' });
    expect(typeOf(across('sum', ramp()))).toEqual({ type: 'i32', width: 'scalar' });
    expect(typeOf(select(binary('eq', ramp(), i32(0)), f32(0), f32(1)))).toEqual({ type: 'f32', width: 'vector' });
  });
});

describe('printing', () => {
  it('reads like loops written by hand', () => {
    expect(printKernel(scaling())).toMatchInlineSnapshot(`
      "scaling(f32 x[], out f32 y[]) {
        # made for scaling
        for xi0 < 8 step 4 {
          f32v x1 = x[xi0 : lanes]
          y[xi0 : lanes] = f32 (x1 * 2.0)
        }
        y[8 : lanes, first 2] = f32 (x[8 : lanes, first 2] * 2.0)
      }"
    `);
  });

  it('shows every kind of statement', () => {
    const nest = new NestBuilder();
    const buffer = nest.local('f32', 8);
    nest.append({
      kind: 'transpose',
      from: { buffer: 'x', index: index(), stride: 4 },
      to: { buffer, index: index(), stride: 2 },
      rows: 2,
      columns: 4,
    });
    const total = nest.var(f32(-0), 'vector');
    nest.loop('n', (i) => {
      nest.set(total, fma(loadVector(buffer, 'f32', i, { stride: 2, count: 2 }), f32(0.1), total));
    });
    nest.when(
      binary('and', binary('gt', across('max', total, 3), f32(0)), unary('not', binary('eq', i32(1), i32(2)))),
      () => {
        nest.prefetch('y', index(16), true);
      },
    );
    const words = nest.threefry([u32(1), u32(2)], [convert('u32', ramp()), u32(0)], 'vector');
    nest.normals(words, 'vector');
    nest.scatter('y', 'f32', index(1), ramp(), total, 2);
    nest.call(scaling('other'), [
      { buffer: 'x', index: index(3) },
      { buffer: 'y', index: index() },
    ]);
    const kernel = nest.kernel({ name: 'all', buffers: IN_OUT, scalars: [{ name: 'n', type: 'i32' }] });
    verifyKernel(kernel, TARGET);
    expect(printKernel(kernel)).toMatchInlineSnapshot(`
      "all(f32 x[], out f32 y[], i32 n) {
        local f32 local0[8]
        local0[0 by 2] = transposed x[0 by 4] (2 rows of 4)
        var f32v v1 = -0.0
        for i2 < n {
          v1 = fma(local0[i2 : lanes*2, first 2], 0.1, v1)
        }
        if ((maxAcross(v1, first 3) > 0.0) & not((1 == 2))) {
          prefetch for writing y[16]
        }
        w3, w4 = vector threefry(1u, 2u, u32(ramp), 0u)
        z5, z6 = vector normals(w3, w4)
        y[1 + ramp, first 2] = f32 v1
        other(&x[3], &y[0])
      }"
    `);
  });
});

describe('a check finds', () => {
  const y: BufferParameter[] = [{ name: 'y', memory: 'f32', written: true }];
  const bad: readonly (readonly [string, readonly Statement[], RegExp])[] = [
    ['a name declared twice', [let_('a', f32(1)), let_('a', f32(2))], /a is declared twice/],
    ['a name read before it is declared', [let_('a', read('b', 'f32', 'scalar'))], /b is not declared here/],
    [
      'a name outside its body',
      [
        { kind: 'if', condition: binary('lt', f32(0), f32(1)), then: [let_('a', f32(1))] },
        let_('b', read('a', 'f32', 'scalar')),
      ],
      /a is not declared here/,
    ],
    [
      'a read of another type',
      [let_('a', f32(1)), let_('b', read('a', 'i32', 'scalar'))],
      /a is a scalar f32, read as a scalar i32/,
    ],
    ['operands of two types', [let_('a', add(f32(1), i32(1)))], /add of i32 1, expected f32/],
    ['an op that the type lacks', [let_('a', unary('exp', i32(1)))], /exp of i32/],
    ['a conversion that is none', [let_('a', convert('u32', f32(1)))], /no conversion from f32 to u32/],
    ['an assignment to a let', [let_('a', f32(1)), { kind: 'set', name: 'a', value: f32(2) }], /a is no variable/],
    [
      'a vector assigned to a number',
      [
        { kind: 'var', name: 'a', value: i32(1) },
        { kind: 'set', name: 'a', value: ramp() },
      ],
      /a vector i32 for a scalar i32/,
    ],
    ['an unknown buffer', [store('z', f32(1))], /no buffer z/],
    ['a store to what is only read', [store('x', f32(1))], /x is not said to be written/],
    ['a store of another type', [store('y', i32(1))], /a i32 is stored to f32/],
    ['memory of another type', [let_('a', loadScalar('y', 'i32', index()))], /y holds f32, not i32/],
    ['a vector stored as a number', [store('y', loadVector('y', 'f32', index()))], /vector is stored as a scalar/],
    ['more lanes than there are', [let_('a', loadVector('y', 'f32', index(), { count: 5 }))], /5 lanes of 4/],
    ['an index over nothing', [let_('a', loadScalar('y', 'f32', variableIndex('i')))], /index over i/],
    [
      'an index over what changes',
      [{ kind: 'var', name: 'a', value: i32(1) }, let_('b', position(variableIndex('a')))],
      /index over a/,
    ],
    [
      'a loop to no parameter',
      [{ kind: 'loop', variable: 'i', extent: 'n', step: 1, body: [] }],
      /n is no i32 parameter/,
    ],
    ['a shift by the width', [let_('a', { kind: 'shift', direction: 'left', by: 32, a: u32(1) })], /shift by 32/],
    ['a condition over lanes', [{ kind: 'if', condition: binary('eq', ramp(), i32(0)), then: [] }], /vector mask/],
    [
      'a call that lacks a buffer',
      [{ kind: 'call', kernel: scaling(), buffers: [], scalars: [] }],
      /takes 2 buffers and 0 scalars, got 0 and 0/,
    ],
  ];

  it.each(bad)('%s', (_, body, message) => {
    const kernel: Kernel = {
      name: 'wrong',
      buffers: [{ name: 'x', memory: 'f32', written: false }, ...y],
      scalars: [],
      body,
    };
    const check = (): void => {
      verifyKernel(kernel, TARGET);
    };
    expect(check).toThrow(NestError);
    expect(check).toThrow(message);
    expect(check).toThrow(/kernel "wrong" at `/);
  });
});

function let_(name: string, value: Extract<Statement, { kind: 'let' }>['value']): Statement {
  return { kind: 'let', name, value };
}
function store(buffer: string, value: Extract<Statement, { kind: 'store' }>['value']): Statement {
  return { kind: 'store', buffer, memory: 'f32', index: index(), value, width: 'scalar' };
}

describe('equal kernels', () => {
  it('are one, whatever their names', () => {
    const [a, b, other] = [scaling('first'), scaling('second', 'value'), scaling('first', 'x', 3)];
    const table = tableOf([a, b, other]);
    expect(table.entries.map(({ name }) => name)).toEqual(['k_first', 'k_first_2']);
    expect(table.nameOf(b)).toBe(table.nameOf(a));
    expect(table.nameOf(other)).toBe('k_first_2');
  });

  it('stand before what calls them, and make their callers equal', () => {
    const caller = (callee: Kernel): Kernel => {
      const nest = new NestBuilder();
      nest.call(callee, [
        { buffer: 'x', index: index() },
        { buffer: 'y', index: index() },
      ]);
      return nest.kernel({ name: 'caller', buffers: IN_OUT });
    };
    const table = tableOf([caller(scaling('a')), caller(scaling('b')), caller(scaling('c', 'x', 3))]);
    expect(table.entries.map(({ name }) => name)).toEqual(['k_a', 'k_caller', 'k_c', 'k_caller_2']);
    const source = renderKernels(table, TARGET);
    expect(source.match(/k_a\(x_, y_\);/g)).toHaveLength(1);
  });

  describe('but for the extents of their outermost loops', () => {
    /** y = 2ᵈ·x, d doublings, for n numbers by fours and again for the last `more` ones. */
    const doubling = (n: number, more: number, doublings: number, inner = 1): Kernel => {
      const nest = new NestBuilder();
      const write = (from: number) => (i: Index) => {
        nest.loop(inner, () => {
          let value: Expr = loadVector('x', 'f32', shiftIndex(i, from));
          for (let k = 0; k < doublings; k++) value = nest.let(add(value, value));
          nest.storeVector('y', 'f32', shiftIndex(i, from), value);
        });
      };
      nest.loop(n, write(0), { step: 4 });
      nest.loop(more, write(100), { step: 4 });
      return nest.kernel({ name: `double ${n}`, buffers: IN_OUT });
    };

    it('long ones share a body', () => {
      const kernels = [
        doubling(8, 20, 40),
        doubling(16, 20, 40),
        doubling(12, 8, 40),
        doubling(8, 20, 41),
        doubling(8, 20, 4),
        doubling(16, 20, 4),
      ];
      const table = tableOf(kernels);
      const names = table.entries.map(({ name }) => name);
      // The body of three, their calls, one of another length, and two that are short.
      expect(names).toEqual([
        'k_double_8_4',
        'k_double_8',
        'k_double_16',
        'k_double_12',
        'k_double_8_2',
        'k_double_8_3',
        'k_double_16_2',
      ]);
      expect(kernels.map((kernel) => table.nameOf(kernel))).toEqual(names.slice(1));
      expect(table.entries[0].kernel.scalars).toEqual([
        { name: 'extent0', type: 'i32' },
        { name: 'extent1', type: 'i32' },
      ]);
      const source = renderKernels(table, TARGET);
      expect(source).toContain('k_double_8_4(x_, y_, 12, 8);');
      for (const { kernel } of table.entries) verifyKernel(kernel, TARGET);
      // What the calls compute is what the kernels compute.
      kernels.forEach((kernel) => {
        const entry = table.entries.find(({ name }) => name === table.nameOf(kernel))!;
        const [own, shared] = [kernel, entry.kernel].map((each) => {
          const buffers = [Float32Array.from({ length: 128 }, (_, i) => i), new Float32Array(128)];
          runNest(each, buffers, [], { lanes: 4 });
          return buffers[1];
        });
        expect(shared).toEqual(own);
      });
    });

    it('what is the same in all stays a number, and what lies further in is no extent of theirs', () => {
      const table = tableOf([doubling(8, 20, 40), doubling(16, 20, 40)]);
      expect(table.entries[0].kernel.scalars).toEqual([{ name: 'extent0', type: 'i32' }]);
      expect(tableOf([doubling(8, 20, 40, 2), doubling(8, 20, 40, 3)]).entries).toHaveLength(2);
    });
  });

  it('are not those that only look alike', () => {
    const of = (write: (nest: NestBuilder) => void): Kernel => {
      const nest = new NestBuilder();
      write(nest);
      return nest.kernel({ name: 'k', buffers: IN_OUT });
    };
    const kernels = [
      of((nest) => nest.storeScalar('y', 'f32', index(), f32(0))),
      of((nest) => nest.storeScalar('y', 'f32', index(), f32(-0))),
      of((nest) => nest.storeScalar('y', 'f32', index(), f32(NaN))),
      of((nest) => nest.storeScalar('y', 'f32', index(1), f32(0))),
      of((nest) => nest.storeVector('y', 'f32', index(), f32(0))),
      // Which of two variables is stored.
      of((nest) => {
        const [a] = [nest.let(f32(1)), nest.let(f32(1))];
        nest.storeScalar('y', 'f32', index(), a);
      }),
      of((nest) => {
        const [, b] = [nest.let(f32(1)), nest.let(f32(1))];
        nest.storeScalar('y', 'f32', index(), b);
      }),
    ];
    expect(tableOf(kernels).entries).toHaveLength(kernels.length);
  });
});

describe('the nest interpreter', () => {
  it('runs a kernel in float32 and in float64', () => {
    const x = Array.from({ length: 10 }, (_, i) => i + 0.1);
    const single = [Float32Array.from(x), new Float32Array(10)];
    runNest(scaling(), single, [], { lanes: 4 });
    expect(Array.from(single[1])).toEqual(x.map((each) => Math.fround(each) * 2));
    const double = [Float64Array.from(x), new Float64Array(10)];
    runNest(scaling(), double, [], { lanes: 4, precision: 'float64' });
    expect(Array.from(double[1])).toEqual(x.map((each) => each * 2));
  });

  it('refuses what lies outside, and what has not been written', () => {
    const run = (write: (nest: NestBuilder) => void, length = 4): (() => void) => {
      const nest = new NestBuilder();
      write(nest);
      const kernel = nest.kernel({ name: 'k', buffers: IN_OUT });
      return () => {
        runNest(kernel, [new Float32Array(4), new Float32Array(length)], [], { lanes: 4 });
      };
    };
    expect(run((nest) => nest.storeVector('y', 'f32', index(1), f32(1)))).toThrow(
      /y\[4\] is outside[^]*in k: y\[1 : lanes\]/,
    );
    expect(run((nest) => nest.storeVector('y', 'f32', index(1), f32(1), { count: 3 }))).not.toThrow();
    expect(run((nest) => nest.let(loadScalar('x', 'f32', index(-1))))).toThrow(/outside/);
    expect(run((nest) => nest.storeScalar('x', 'f32', index(), f32(1)))).toThrow(/not said to be written/);
    expect(run((nest) => nest.let(loadScalar(nest.local('f32', 4), 'f32', index(2))))).toThrow(/before it is written/);
  });

  it('rounds a fused product once', () => {
    // (1 + 2⁻¹²)² = 1 + 2⁻¹¹ + 2⁻²⁴: a tie of float32, which the third operand decides.
    const a = 1 + 2 ** -12;
    expect(fusedFloat32(a, a, 0)).toBe(1 + 2 ** -11);
    expect(fusedFloat32(a, a, 2 ** -80)).toBe(1 + 2 ** -11 + 2 ** -23);
    expect(fusedFloat32(a, a, -(2 ** -80))).toBe(1 + 2 ** -11);
    expect(fusedFloat32(-a, a, -(2 ** -80))).toBe(-(1 + 2 ** -11 + 2 ** -23));
    expect(fusedFloat32(a, a, -(1 + 2 ** -11))).toBe(2 ** -24);
    expect(fusedFloat32(3e38, 10, -Infinity)).toBe(-Infinity);
    expect(fusedFloat32(2, 3, -6)).toBe(0);
  });
});

describe('C', () => {
  it('has float literals of the very bits', () => {
    const parsed = (text: string): number => {
      const match = /^\(?(-?)0x([01])(?:\.([0-9a-f]+))?p(-?\d+)f\)?$/.exec(text);
      if (match === null) return Number(text.replace(/[()f]/g, ''));
      const [, sign, lead, digits = '', power] = match;
      const fraction = digits === '' ? 0 : parseInt(digits, 16) / 16 ** digits.length;
      return (sign === '-' ? -1 : 1) * (Number(lead) + fraction) * 2 ** Number(power);
    };
    const edges = [2 ** -149, 2 ** -127, 2 ** -126, 1e-40, 3.4028234663852886e38];
    for (const x of [0, -0, 1, -1, 16777216, 0.1, -0.1, 1 / 3, ...edges]) {
      expect(parsed(floatLiteral(x))).toBe(Math.fround(x));
    }
    expect([NaN, Infinity, -Infinity, 1e39].map(floatLiteral)).toEqual([
      '__builtin_nanf("")',
      '__builtin_inff()',
      '(-__builtin_inff())',
      '__builtin_inff()',
    ]);
  });

  it('tells which kernel and note a line comes from', () => {
    const nest = new NestBuilder();
    nest.note('layer 0/matmul');
    nest.storeScalar('y', 'f32', index(), f32(1));
    nest.loop(3, (i) => {
      nest.note('layer 0/relu \\');
      nest.storeScalar('y', 'f32', i, f32(2));
    });
    const source = [
      'int before;',
      renderKernel(nest.kernel({ name: 'dense 1', buffers: IN_OUT }), TARGET),
      'int after;',
    ].join('\n');
    const lineOf = (text: string): number => source.split('\n').findIndex((line) => line.includes(text)) + 1;
    expect(originOfLine(source, lineOf('1.0f'))).toEqual({ kernel: 'dense 1', note: 'layer 0/matmul' });
    expect(originOfLine(source, lineOf('2.0f'))).toEqual({ kernel: 'dense 1', note: 'layer 0/relu' });
    expect(originOfLine(source, lineOf('noinline'))).toEqual({ kernel: 'dense 1' });
    expect(originOfLine(source, lineOf('before'))).toBeUndefined();
    expect(originOfLine(source, lineOf('after'))).toBeUndefined();
  });

  it('refuses local buffers that do not fit a stack', () => {
    const kernel = (bytes: number): Kernel => {
      const nest = new NestBuilder();
      nest.local('u8', bytes - 4);
      nest.local('i32', 1);
      return nest.kernel({ name: 'big', buffers: [] });
    };
    expect(() => renderKernel(kernel(LOCAL_BYTES), TARGET)).not.toThrow();
    expect(() => renderKernel(kernel(LOCAL_BYTES + 1), TARGET)).toThrow(NestError);
  });
});
