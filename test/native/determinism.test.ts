/**
 * Bits of native windows do not depend on threads, on grouping and order of particles, on how windows are cut, on whether
 * the library was just compiled; on every small registered problem in both modes. And nothing is compiled twice.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NativeEngine } from '../../src/engines/native/engine';
import type { Mode } from '../../src/engines/native/lower/lanes';
import type { NativeUnrollProgram } from '../../src/engines/native/program';
import type { TracedProblem } from '../../src/graph/program';
import { traceProblem } from '../../src/graph/trace';
import { COMPILERS, describeNative, removeFolders, temporaryFolder } from '../support/native';
import { ALL, bitsOf, run, SIZE } from '../support/native-bits';
import { SMALL_PROBLEMS, spreadThetas } from '../support/registered-problems';

afterAll(removeFolders);

/** A compiler that notes in a file that it was run to make a library, and the number of times that it was. */
function countingCompiler(): { readonly program: string; runs(): number } {
  const folder = temporaryFolder();
  const [program, log] = [join(folder, 'cc'), join(folder, 'log')];
  const real = process.env.CC ?? COMPILERS[0];
  writeFileSync(program, `#!/bin/sh\ncase "$*" in *-shared*) echo run >> '${log}';; esac\nexec ${real} "$@"\n`);
  chmodSync(program, 0o755);
  return { program, runs: () => (existsSync(log) ? readFileSync(log, 'utf8').split('\n').length - 1 : 0) };
}

describeNative('bits', () => {
  const engines = new Map<number, NativeEngine>();
  const programs: NativeUnrollProgram[] = [];
  const compiler = countingCompiler();
  const environment = { ...process.env, OUTERLOOP_CACHE: temporaryFolder(), CC: compiler.program };
  const traces: Record<string, TracedProblem> = {};

  beforeAll(async () => {
    for (const threads of [1, 2, 4]) engines.set(threads, await NativeEngine.open({ threads, environment }));
    for (const { name, problem } of SMALL_PROBLEMS) traces[name] = traceProblem(await problem());
  }, 60_000);
  afterAll(async () => {
    for (const program of programs) await program.dispose();
    for (const engine of engines.values()) await engine.dispose();
  });

  async function compile(threads: number, name: string, mode: Mode): Promise<NativeUnrollProgram> {
    const program = await engines.get(threads)!.compileTraced(traces[name], { mode });
    programs.push(program);
    return program;
  }

  const modes: readonly Mode[] = ['particle-major', 'lane-major'];
  /** A network in lanes takes the compiler long, and is what no cost rule chooses. */
  const FEW = ['quadratic', 'influence-balancing', 'lorenz'];
  const rows = modes.flatMap((mode) =>
    SMALL_PROBLEMS.filter(({ name }) => mode === 'particle-major' || FEW.includes(name)).map(({ name }) => ({
      name,
      mode,
    })),
  );
  test.each(rows)(
    '$name, $mode: threads, grouping, order, and one compilation',
    async ({ name, mode }) => {
      const before = compiler.runs();
      const one = await compile(1, name, mode);
      expect(compiler.runs()).toBe(before + 1);
      const thetas = spreadThetas(traces[name], SIZE, 0.05);
      const expected = bitsOf(await run(one, thetas));
      for (const threads of [2, 4]) {
        const program = await compile(threads, name, mode);
        expect(bitsOf(await run(program, thetas))).toBe(expected);
      }
      const groupings: readonly (readonly Int32Array[])[] = [
        [ALL.slice().reverse()],
        // Neither of the lengths nor of the places of blocks.
        [ALL.slice(20), ALL.slice(0, 3), ALL.slice(3, 20)],
        [ALL.filter((p) => p % 3 === 1), ALL.filter((p) => p % 3 === 0), ALL.filter((p) => p % 3 === 2)],
        Array.from(ALL, (p) => Int32Array.of(p)),
      ];
      for (const groups of groupings) expect(bitsOf(await run(one, thetas, groups))).toBe(expected);
      // The second and third compilation of the problem found the library.
      expect(compiler.runs()).toBe(before + 1);
    },
    120_000,
  );

  test('a process of its own finds the library, and gives the same bits', async () => {
    const names = ['quadratic', 'mlp, SGD with momentum on a schedule'];
    const expected: string[] = [];
    for (const name of names) {
      const program = await compile(2, name, 'particle-major');
      expected.push(bitsOf(await run(program, spreadThetas(traces[name], SIZE, 0.05))));
    }
    const before = compiler.runs();
    const script = join(__dirname, '../support/fresh-bits.js');
    const child = spawnSync(process.execPath, [script, ...names], { env: environment, encoding: 'utf8' });
    expect(child.stderr).not.toContain('Error');
    expect(JSON.parse(child.stdout)).toEqual(expected);
    expect(compiler.runs()).toBe(before);
  }, 60_000);
});
