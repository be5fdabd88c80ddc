/** Plugins from files outside the repository, in real processes: jest's own module registry would hide what Node does. */
import { copyFileSync, cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Measurement } from '../../src/outer';
import { CompiledSources, temporaryFolder, type Finished } from './compiled';

const ROOT = resolve(__dirname, '..', '..');
const SCRIPT = join('test', 'outer', 'child', 'train-with-plugin.js');
const LOAD = join('test', 'outer', 'child', 'load-plugins.js');

let sources: CompiledSources;
let folder: string;
beforeAll(() => {
  sources = new CompiledSources();
  folder = temporaryFolder();
});
afterAll(() => {
  sources.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** In the plugin's folder, as a user would. NODE_PATH would find the packages that the folder lacks. */
function train(...args: string[]): Promise<Finished> {
  return sources.run(SCRIPT, args, { cwd: folder });
}

function write(name: string, text: string): string {
  mkdirSync(join(folder, name, '..'), { recursive: true });
  writeFileSync(join(folder, name), text);
  return name;
}

test('the worked example trains from another folder, on a task and a preset of its own', async () => {
  copyFileSync(join(ROOT, 'examples', 'plugin', 'my-task.ts'), join(folder, 'my-task.ts'));
  const { code, stderr, stdout } = await train(
    'my-task.ts',
    'run',
    'preset=sine-lr',
    'engine=tfjs:cpu',
    'iterations=8',
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const result = JSON.parse(stdout) as { problem: string; before: Measurement; after: Measurement };
  expect(result.problem).toBe('sgd on sine');
  // The rate starts far too low: every step of the tuner in the right direction lowers the loss, on paired starts.
  expect(result.before.n).toBe(5);
  expect(result.after.mean).toBeLessThan(result.before.mean);
}, 60000);

/** What is wrong → the one line that is printed. All end with exit code 2. */
const FAILURES: readonly (readonly [string, () => string, string])[] = [
  ['missing', () => 'nowhere.ts', 'plugin nowhere.ts: there is no such file.'],
  ['a folder', () => (write('folder/a.txt', ''), 'folder'), 'plugin folder is no file; name the .ts or .js file.'],
  [
    'another extension',
    () => write('plugin.txt', ''),
    'plugin plugin.txt: expected a file named .ts, .cts, .js, .cjs, got ".txt".',
  ],
  [
    'TypeScript that does not compile',
    () => write('broken.ts', 'export const plugin = ;\n'),
    'plugin broken.ts does not compile: Expression expected (at broken.ts:1).',
  ],
  [
    'JavaScript that does not compile',
    () => write('broken.js', 'exports.plugin = ;\n'),
    "plugin broken.js does not compile: Unexpected token ';' (at broken.js:1).",
  ],
  [
    'an error while it loads',
    () => write('throws.ts', "\nthrow new Error('no luck');\n"),
    'plugin throws.ts fails while it loads: no luck (at throws.ts:2:7).',
  ],
  [
    'a module that is not installed',
    () => write('lacks.ts', "import { x } from 'surely-not-installed';\nexport const plugin = x;\n"),
    "plugin lacks.ts fails while it loads: Cannot find module 'surely-not-installed'.",
  ],
  [
    'no export',
    () => write('empty.ts', 'const x = 1;\n'),
    'plugin empty.ts exports nothing; expected `export const plugin = definePlugin(…)`.',
  ],
  [
    'other exports',
    () => write('other.js', 'exports.task = 1; exports.name = 2;\n'),
    'plugin other.js exports task, name but no "plugin"; expected `export const plugin = definePlugin(…)`.',
  ],
  [
    'an export of another kind',
    () => write('kind.ts', 'export const plugin = { register() {} };\n'),
    'plugin kind.ts: its "plugin" is not what definePlugin(…) returns.',
  ],
  [
    'a name that is taken',
    () =>
      write(
        'taken.ts',
        "import { definePlugin } from 'outerloop';\nexport const plugin = definePlugin(({ task }) => task('mlp', () => ({}) as never));\n",
      ),
    'taken.ts: task "mlp" is registered already, by tasks. Give it another name.',
  ],
  [
    'a second TensorFlow.js',
    () => {
      const copy = join(folder, 'vendored', 'node_modules', '@tensorflow', 'tfjs-core');
      mkdirSync(join(copy, 'dist'), { recursive: true });
      cpSync(join(ROOT, 'node_modules', '@tensorflow', 'tfjs-core', 'package.json'), join(copy, 'package.json'));
      // Only that it is loaded counts, so that the copy may be empty.
      writeFileSync(join(copy, 'dist', 'tf-core.node.js'), '');
      return write('second.ts', "import './vendored/node_modules/@tensorflow/tfjs-core';\nexport const plugin = 1;\n");
    },
    'plugin second.ts loads a second TensorFlow.js (vendored/node_modules/@tensorflow/tfjs-core/dist/tf-core.node.js), ' +
      'whose tensors Outerloop cannot use. Import "@tensorflow/tfjs" by that name, and take the other one out.',
  ],
];

test('what is wrong with a plugin is one line, with exit code 2', async () => {
  const { code, stdout } = await sources.run(LOAD, [...FAILURES.map(([, make]) => make())], { cwd: folder });
  expect(code).toBe(0);
  const got = JSON.parse(stdout) as { message: string; exitCode: number }[];
  expect(FAILURES.map(([what], i) => ({ what, ...got[i] }))).toEqual(
    FAILURES.map(([what, , message]) => ({ what, message, name: 'PluginError', exitCode: 2 })),
  );
}, 30000);

test('a plugin in a folder of ES modules, with a helper file and an own copy of the packages, is the same', async () => {
  write('modern/package.json', '{"type": "module"}');
  write('modern/node_modules/@tensorflow/tfjs/index.js', "throw new Error('the wrong TensorFlow.js');");
  write('modern/node_modules/outerloop/index.js', "throw new Error('the wrong Outerloop');");
  write(
    'modern/helper.ts',
    "import * as tf from '@tensorflow/tfjs';\nexport const version: string = tf.version.tfjs;\n",
  );
  const file = write(
    'modern/plugin.ts',
    [
      "import { definePlugin } from 'outerloop';",
      "import { version } from './helper';",
      'if (!version) throw new Error();',
      'export const plugin = definePlugin(() => {});',
    ].join('\n'),
  );
  const { code, stdout } = await sources.run(LOAD, [file], { cwd: folder });
  expect({ code, stdout }).toEqual({ code: 0, stdout: '[{}]' });
}, 30000);
