/** `npm run test:sanitize`, where GCC comes with libasan. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(__dirname, '..', '..');
const asked = spawnSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' });
const library = asked.status === 0 ? asked.stdout.trim() : '';

(existsSync(library) ? test : test.skip)(
  'generated C has no error that AddressSanitizer and UndefinedBehaviorSanitizer find (GCC with libasan)',
  () => {
    // A run of Jest of its own, and of GCC whatever CC names.
    const { CC: _cc, JEST_WORKER_ID: _id, NODE_OPTIONS: _options, ...env } = process.env;
    const script = join(ROOT, 'scripts', 'test-sanitize.sh');
    const done = spawnSync('sh', [script], { env, encoding: 'utf8', maxBuffer: 1 << 26 });
    const text = `${done.stdout}${done.stderr}`;
    const errors = text.split('\n').filter((line) => /ERROR: AddressSanitizer|runtime error:|✕|● /.test(line));
    expect(errors).toEqual([]);
    expect([done.status, done.signal]).toEqual([0, null]);
    expect(text).toMatch(/^[1-9]\d* passed, 0 failed$/m);
  },
  1_800_000,
);
