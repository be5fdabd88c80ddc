/** Finding compilers, compiling, and what goes wrong: compilers that are not there, fail, hang, or suit another processor. */
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigurationError, EngineUnavailableError } from '../../src/contracts';
import { build, findCompiler, LibraryCache, NativeCompileError, type Compiler } from '../../src/engines/native/compile';
import { describeNative as describeMachine } from '../../src/engines/native/describe';
import { NativeEngine } from '../../src/engines/native/engine';
import { loadKoffi } from '../../src/engines/native/runtime';
import { COMPILERS, describeNative, removeFolders, temporaryFolder } from '../support/native';
import { laneWalk, particleWalk, WALK, Walker } from '../support/native-programs';

afterAll(removeFolders);

/** An executable file. */
function script(text: string): string {
  const path = join(temporaryFolder(), 'compiler');
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
}

const freshCache = (): Promise<LibraryCache> => LibraryCache.open(join(temporaryFolder(), 'native'));

describe('finding a compiler', () => {
  const refusal = async (environment: NodeJS.ProcessEnv, milliseconds?: number): Promise<unknown> =>
    findCompiler(environment, milliseconds).then(
      () => undefined,
      (error: unknown) => error,
    );

  test.each([
    ['none on PATH', { PATH: '/nonexistent' }, /there is no C compiler \(cc, gcc, clang\) on PATH/],
    ['an empty environment', {}, /there is no C compiler/],
    [
      'CC that is not there',
      { CC: 'no-such-cc -O3', PATH: '/nonexistent' },
      /CC names "no-such-cc", which is not there/,
    ],
  ])('%s', async (_, environment, message) => {
    const error = await refusal(environment);
    expect(error).toBeInstanceOf(EngineUnavailableError);
    expect(String(error)).toMatch(message);
    expect(String(error)).toContain('Install a C compiler');
    await expect(NativeEngine.open({ environment })).rejects.toThrow(message);
  });

  test('one that fails, answers nonsense or does not answer', async () => {
    expect(String(await refusal({ CC: script('echo "no licence" >&2; exit 3') }))).toMatch(
      /does not work \(no licence\)/,
    );
    expect(String(await refusal({ CC: script('exit 3') }))).toMatch(/does not work \(exit code 3\)/);
    expect(String(await refusal({ CC: script('echo hello') }))).toMatch(/does not work/);
    const slow = script('sleep 60 & echo $! > "$0.pid"; wait');
    expect(String(await refusal({ CC: slow }, 500))).toMatch(/does not work \(it does not answer\)/);
    // Its children are gone, too: signal 0 only asks.
    const pid = Number(readFileSync(`${slow}.pid`, 'utf8'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const state = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[2] : 'gone';
    expect(['gone', 'Z']).toContain(state);
  });

  test('an instruction set of another name', async () => {
    const error = await refusal({ ...process.env, OUTERLOOP_NATIVE_ISA: 'avx3' });
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(String(error)).toContain('expected native, avx512, avx2, generic, got avx3');
  });

  test('what doctor says of a machine without a compiler', async () => {
    const found = await describeMachine({
      PATH: '/nonexistent',
      OUTERLOOP_CACHE: temporaryFolder(),
      OUTERLOOP_THREADS: 'x',
    });
    expect(found.compiler).toBeUndefined();
    expect(found.missing).toHaveLength(2);
    expect(found.missing[0]).toContain('there is no C compiler');
    expect(found.missing[1]).toContain('OUTERLOOP_THREADS: expected a whole number from 1 to 1024, got x');
    expect(found.cache).toMatchObject({ files: 0, bytes: 0 });
  });
});

describeNative('compiling', () => {
  let compiler: Compiler;
  beforeAll(async () => {
    compiler = await findCompiler();
  });
  const name = 'a program';

  test('the second time nothing is compiled; other sources, flags and compilers have libraries of their own', async () => {
    const cache = await freshCache();
    const source = 'int one(void) { return 1; }\n';
    const first = await build(compiler, cache, source, { name });
    expect(first.fromCache).toBe(false);
    const start = performance.now();
    const again = await build(compiler, cache, source, { name });
    expect(again).toEqual({ ...first, fromCache: true });
    // A tenth of a second is asked for; a process start alone would show.
    expect(performance.now() - start).toBeLessThan(100);
    const others = [
      await build(compiler, cache, `${source} `, { name }),
      await build(compiler, cache, source, { name, extraFlags: ['-DX'] }),
      await build(compiler, cache, source, { name, baseline: true }),
      await build({ ...compiler, fingerprint: 'another processor' }, cache, source, { name }),
    ];
    expect(others.map(({ fromCache }) => fromCache)).toEqual([false, false, false, false]);
    expect(new Set([first, ...others].map(({ path }) => path)).size).toBe(5);
    expect(readdirSync(cache.folder).filter((file) => file.startsWith('work-'))).toEqual([]);
  });

  test('an error is shown with its line and with who emitted it', async () => {
    const cache = await freshCache();
    const source = ['int one(void) {', '  return unknown_name;', '}', ''].join('\n');
    const failed = build(compiler, cache, source, { name, originOfLine: (line) => `line ${line} of the pass "test"` });
    await expect(failed).rejects.toThrow(NativeCompileError);
    await expect(failed).rejects.toThrow(
      /could not compile "a program": .*unknown_name.* in line 2: return unknown_name; \(emitted by line 2 of the pass "test"\)/,
    );
    await expect(failed).rejects.toMatchObject({ origin: 'line 2 of the pass "test"' });
    expect(readdirSync(cache.folder)).toEqual([]);
  });

  test('several units become one library; each of them counts for the key', async () => {
    const cache = await freshCache();
    const units = [
      '__attribute__((visibility("hidden"))) int two(void);\nint four(void) { return 2 * two(); }\n',
      '__attribute__((visibility("hidden"))) int two(void) { return 2; }\n',
    ];
    const first = await build(compiler, cache, units, { name });
    const library = (await loadKoffi()).load(first.path);
    const four = library.func('int four()') as unknown as () => number;
    expect(four()).toBe(4);
    library.unload();
    expect((await build(compiler, cache, units, { name })).fromCache).toBe(true);
    const others = [
      [units[0], `${units[1]} `],
      [units[1], units[0]],
      [units.join('')],
      // Texts must not run together.
      [`${units[0]}\n`, units[1].slice(0, -1)],
    ];
    for (const other of others) expect((await build(compiler, cache, other, { name })).fromCache).toBe(false);
    expect(readdirSync(cache.folder).filter((file) => file.startsWith('work-'))).toEqual([]);
  });

  test('an error in one of several units, and one that only the linker finds', async () => {
    const cache = await freshCache();
    const origin = (line: number, unit: number): string => `line ${line} of unit ${unit}`;
    const good = 'int one(void) { return 1; }\n';
    const bad = 'int two(void) {\n  return unknown_name;\n}\n';
    const failed = build(compiler, cache, [good, bad], { name, originOfLine: origin });
    await expect(failed).rejects.toThrow(
      /unknown_name.* in line 2: return unknown_name; \(emitted by line 2 of unit 1\)/,
    );
    await expect(build(compiler, cache, [good, good], { name, originOfLine: origin })).rejects.toThrow(
      NativeCompileError,
    );
    expect(readdirSync(cache.folder)).toEqual([]);
  });

  test('a compiler that breaks, or takes too long', async () => {
    const cache = await freshCache();
    // Works when it is asked for its macros.
    const broken = (last: string): string =>
      script(`for word in "$@"; do [ "$word" = -dM ] && exec ${compiler.program} "$@"; done; ${last}`);
    const killed = await findCompiler({ ...process.env, CC: broken('kill -9 $$') });
    await expect(build(killed, cache, '', { name })).rejects.toThrow(
      /could not compile "a program": ended with SIGKILL/,
    );
    const slow = await findCompiler({ ...process.env, CC: broken('sleep 60') });
    await expect(build(slow, cache, '', { name, milliseconds: 300 })).rejects.toThrow(/took longer than 0.3 s/);
    const full = await findCompiler({
      ...process.env,
      CC: broken('echo "cc: fatal error: No space left on device" >&2; exit 1'),
    });
    await expect(build(full, cache, '', { name })).rejects.toThrow(/No space left on device/);
    expect(readdirSync(cache.folder)).toEqual([]);
  });

  test.each(COMPILERS)('%s reads parts of its headers; one that does not reads all of them', async (cc) => {
    const { program: path } = await findCompiler({ ...process.env, CC: cc });
    const failures = join(temporaryFolder(), 'failures');
    const environment = (last: string): NodeJS.ProcessEnv => ({
      ...process.env,
      OUTERLOOP_CACHE: temporaryFolder(),
      CC: script(last),
    });
    const open = async (last: string): Promise<void> => {
      const engine = await NativeEngine.open({ threads: 1, environment: environment(last) });
      const { target } = await findCompiler({ ...process.env, CC: cc });
      await engine.compileNative(WALK, particleWalk({ ...target, registers: 16 }));
      await engine.dispose();
    };
    await open(`${path} "$@" || { echo failed >> ${failures}; exit 1; }`);
    expect(existsSync(failures)).toBe(false);
    const refusing = `case " $* " in *" -DOL_FEW_HEADERS "*) echo failed >> ${failures}; exit 1;; esac; exec ${path} "$@"`;
    await open(refusing);
    // The runtime's unit and the program's.
    expect(readFileSync(failures, 'utf8')).toBe('failed\nfailed\n');
  });

  test('CC may have arguments', async () => {
    const chosen = await findCompiler({ ...process.env, CC: ` ${compiler.program}  -DFROM_CC=1 ` });
    expect(chosen.args).toEqual(['-DFROM_CC=1']);
    const source = '#if !FROM_CC\n#error not given\n#endif\n';
    await build(chosen, await freshCache(), source, { name });
    await expect(build(compiler, await freshCache(), source, { name })).rejects.toThrow('not given');
  });
});

/** Instruction sets of this processor, by what the system says of it. */
function supported(isa: string): boolean {
  const flags = readFileSync('/proc/cpuinfo', 'utf8').split(/\s+/);
  return { avx512: flags.includes('avx512dq'), avx2: flags.includes('avx2') && flags.includes('fma') }[isa] ?? true;
}

/** Every compiler with all that the processor has, and the first one with what other machines have. */
const [FIRST = process.env.CC ?? 'cc', ...OTHERS] = COMPILERS.filter((name) => name !== 'cc');
const MATRIX = [
  ...[FIRST, ...OTHERS].map((cc) => [cc, 'native'] as const),
  ...(process.arch === 'x64' ? (['avx512', 'avx2', 'generic'] as const) : []).map((isa) => [FIRST, isa] as const),
];

describeNative('every compiler and instruction set', () => {
  const theta = Float64Array.of(0.5, -0.25, 1, 2, -4, 0.125);
  const folder = temporaryFolder();

  test.each(MATRIX)(
    '%s, %s: walks as JavaScript does, or is refused where the processor lacks it',
    async (cc, isa) => {
      const environment = { ...process.env, CC: cc, OUTERLOOP_NATIVE_ISA: isa, OUTERLOOP_CACHE: folder };
      const engine = await NativeEngine.open({ threads: 2, environment });
      const lanes = Number(engine.fingerprint.lanes) as 4 | 8 | 16;
      if (isa === 'avx512' || isa === 'avx2') expect(lanes).toBe(isa === 'avx512' ? 16 : 8);
      const target = { lanes, registers: 16 } as const;
      const programs = [particleWalk(target), laneWalk(target)].map((native) => ({
        native,
        compiled: engine.compileNative(WALK, native),
      }));
      for (const { compiled } of programs) compiled.catch(() => undefined);
      for (const { native, compiled } of programs) {
        if (!supported(isa)) {
          await expect(compiled).rejects.toThrow('needs instructions that this processor lacks');
          continue;
        }
        const population = await (await compiled).createPopulation({ size: 5, seed: 9 });
        const particles = Int32Array.of(4, 2);
        const perturbation = { form: 'none', theta } as const;
        await population.reset({ particles, workers: particles, episodes: particles, perturbation });
        const { lossSum } = await population.advance({ particles, perturbation, steps: 7 });
        const walkers = Array.from(particles, (p) => new Walker(native.mode, 9, p, p));
        const expected = walkers.map((walker) => {
          let sum = 0;
          for (let t = 0; t < 7; t++) sum += walker.step(theta)[0];
          return sum;
        });
        expect([...lossSum]).toEqual(expected);
        const bundle = await population.save();
        walkers.forEach(({ state }, i) => {
          for (const [leaf, numbers] of Object.entries(state)) {
            const width = numbers.length;
            expect([...bundle[leaf].data.subarray(particles[i] * width, (particles[i] + 1) * width)]).toEqual(numbers);
          }
        });
      }
      await engine.dispose();
    },
    60_000,
  );

  test('a damaged library is compiled again', async () => {
    const own = mkdtempSync(join(folder, 'own-'));
    const environment = { ...process.env, OUTERLOOP_CACHE: own };
    for (let round = 0; round < 2; round++) {
      const engine = await NativeEngine.open({ threads: 1, environment });
      const lanes = Number(engine.fingerprint.lanes) as 4 | 8 | 16;
      await engine.compileNative(WALK, particleWalk({ lanes, registers: 16 }));
      await engine.dispose();
      const libraries = readdirSync(join(own, 'native')).filter((file) => file.endsWith('.so'));
      // The runtime and the program.
      expect(libraries).toHaveLength(2);
      for (const file of libraries) {
        const path = join(own, 'native', file);
        const beginning = readFileSync(path).subarray(0, 1000);
        // Another file of that name: this process has the old one mapped.
        rmSync(path);
        writeFileSync(path, beginning);
      }
    }
  }, 60_000);
});
