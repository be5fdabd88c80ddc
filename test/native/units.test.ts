/** A program's kernels divided among translation units. */
import { join } from 'node:path';
import { build, findCompiler, LibraryCache } from '../../src/engines/native/compile';
import { tableOf } from '../../src/engines/native/nest/dedupe';
import { binary, f32, index, loadScalar, NestBuilder } from '../../src/engines/native/nest/builder';
import type { Kernel } from '../../src/engines/native/nest/ir';
import { originOfLine } from '../../src/engines/native/render/c';
import { renderUnits, type Units } from '../../src/engines/native/render/units';
import { loadKoffi } from '../../src/engines/native/runtime';
import { describeNative, removeFolders, temporaryFolder } from '../support/native';

afterAll(removeFolders);

const BUFFERS = [{ name: 'x', memory: 'f32', written: true }] as const;

/** x₀ := n − x₀, `times` times. */
function step(name: string, n: number, times = 1): Kernel {
  const nest = new NestBuilder();
  for (let i = 0; i < times; i++) {
    nest.note(`${name}, time ${i}`);
    nest.storeScalar('x', 'f32', index(), binary('sub', f32(n), loadScalar('x', 'f32', index())));
  }
  return nest.kernel({ name, buffers: BUFFERS });
}

/** Calls another kernel, `times` times. */
function caller(name: string, callee: Kernel, times: number): Kernel {
  const nest = new NestBuilder();
  for (let i = 0; i < times; i++) nest.call(callee, [{ buffer: 'x', index: index() }]);
  return nest.kernel({ name, buffers: BUFFERS });
}

const CALLEE = step('callee', 7, 31);
const KERNELS = [
  step('short', 1),
  step('middle', 2, 301),
  caller('first caller', CALLEE, 1),
  step('long', 3, 601),
  caller('second caller', CALLEE, 3),
];
const TARGET = { lanes: 4, registers: 16 } as const;

function divided(most: number, least?: number): Units {
  return renderUnits(tableOf(KERNELS), TARGET, [], most, least);
}

/** Kernels that a text has, by the names of their marks. */
function kernelsIn(text: string): string[] {
  return [...text.matchAll(/^\/\/ kernel: (.*)$/gm)].map((match) => match[1]);
}

describe('units', () => {
  test.each([1, 2, 3, 4, 100])('at most %d: every kernel once, what calls another one beside it', (most) => {
    const { main, others } = divided(most, 1);
    // The two callers and what they call are one of four families.
    expect(others.length).toBe(Math.min(most - 1, 4));
    const units = [main, ...others].map(kernelsIn);
    expect(units.flat().sort()).toEqual(['callee', 'first caller', 'long', 'middle', 'second caller', 'short']);
    const callers = units.find((kernels) => kernels.includes('callee'));
    expect(callers?.filter((kernel) => kernel !== 'long' && kernel !== 'middle' && kernel !== 'short')).toEqual([
      'callee',
      'first caller',
      'second caller',
    ]);
  });

  test('a small program is one unit, and a unit has a certain length', () => {
    expect(divided(4).others).toEqual([]);
    const whole = kernelText(divided(1).main).length;
    expect(divided(4, whole / 2 - 100).others).toHaveLength(1);
    expect(divided(4, whole).others).toEqual([]);
  });

  test('units take about equally long', () => {
    const kernels = Array.from({ length: 40 }, (_, i) => step(`step ${i}`, i, 50 + 37 * (i % 7)));
    const { main, others } = renderUnits(tableOf(kernels), TARGET, [], 3);
    const lengths = [main, ...others].map((text) => kernelText(text).length);
    expect(lengths).toHaveLength(3);
    // The driver makes up for what the first has less; a kernel's length is all that may be left over.
    const longest = Math.max(...kernels.map((kernel) => renderUnits(tableOf([kernel]), TARGET, [], 1).main.length));
    expect(Math.abs(lengths[1] - lengths[2])).toBeLessThan(longest);
    expect(lengths[0]).toBeLessThan(lengths[1]);
  });

  test('a line of any unit is traced to its kernel', () => {
    const { main, others } = divided(4, 1);
    for (const text of [main, ...others]) {
      const names = kernelsIn(text);
      text.split('\n').forEach((line, i) => {
        const literal = /\(([1237])\.0f - /.exec(line)?.[1];
        if (literal === undefined) return;
        const kernel = { 1: 'short', 2: 'middle', 3: 'long', 7: 'callee' }[literal];
        expect(names).toContain(kernel);
        const origin = originOfLine(text, i + 1);
        expect(origin?.kernel).toBe(kernel);
        expect(origin?.note).toMatch(new RegExp(`^${String(kernel)}, time `));
      });
    }
  });
});

function kernelText(unit: string): string {
  return unit.slice(unit.indexOf('// kernel: '));
}

describeNative('compiled units', () => {
  test('the driver finds its kernels wherever they are', async () => {
    const table = tableOf(KERNELS);
    const koffi = await loadKoffi();
    const compiler = await findCompiler();
    const cache = await LibraryCache.open(join(temporaryFolder(), 'native'));
    const calls = KERNELS.slice(0, 3).map((kernel) => `${table.nameOf(kernel)}(x);`);
    const driver = `\nvoid drive(float *x) { ${calls.join(' ')} }\n`;
    for (const most of [1, 2, 4]) {
      const { main, others } = divided(most, 1);
      const { path } = await build(compiler, cache, [main + driver, ...others], { name: 'units' });
      const library = koffi.load(path);
      const drive = library.func('void drive(float *x)') as unknown as (x: Float32Array) => void;
      const x = Float32Array.of(-2.5);
      drive(x);
      // An odd number of times is once.
      expect(x[0]).toBe(7 - (2 - (1 - -2.5)));
      // Not for others to call.
      expect(() => library.symbol(table.nameOf(KERNELS[0]))).toThrow();
      library.unload();
    }
  }, 60_000);
});
