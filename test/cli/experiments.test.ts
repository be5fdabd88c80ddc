/** The experiments that ship with the package: each can be run by its name, in full and in its short form. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readConfigFile } from '../../src/cli/commands/train';
import { experimentFiles } from '../../src/cli/experiments';
import { createContainer } from '../../src/container';
import { expandSweep } from '../../src/outer';
import { here } from '../support/command-line';

const ROOT = resolve(__dirname, '..', '..');

test.each([...experimentFiles()])(
  '%s: every run of both forms is a configuration, the short one is shorter',
  (_, file) => {
    const input = readConfigFile(file);
    const container = createContainer();
    const [whole, quick] = [false, true].map((short) => expandSweep(input, [], container, short));
    expect(whole.length).toBeGreaterThan(1);
    expect(quick.length).toBeGreaterThan(1);
    const methods = (members: typeof whole): string[] => [
      ...new Set(members.map(({ config }) => config.estimator.name)),
    ];
    expect(methods(quick)).toEqual(methods(whole));
    const total = (members: typeof whole): number => members.reduce((sum, { config }) => sum + config.iterations, 0);
    expect(total(quick)).toBeLessThan(total(whole));
  },
);

test('the package has the files that the names stand for', () => {
  const { files } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { files: string[] };
  expect(files).toContain('experiments');
  expect([...experimentFiles().keys()]).toEqual(
    expect.arrayContaining(['influence-balancing', 'lorenz', 'many-hyperparameters']),
  );
});

test('a name is enough; the short form has a folder of its own', async () => {
  const { code, stdout, stderr } = await here('sweep', 'influence-balancing', '--quick', '--dry-run');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/^influence-balancing--rtrl--\S+--seed=0 +to run\n/);
  expect(stdout).toMatch(/10 runs in runs\/influence-balancing-quick, 10 of them to run\n$/);
});

test('a name that is none: one line, exit 2, and what was meant', async () => {
  const { code, stdout, stderr } = await here('sweep', 'lorentz', '--dry-run');
  expect({ code, stdout, stderr }).toEqual({
    code: 2,
    stdout: '',
    stderr: 'error: unknown experiment "lorentz". Did you mean "lorenz"?\n',
  });
});
