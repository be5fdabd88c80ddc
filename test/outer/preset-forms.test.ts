/** Shorter forms of presets: `--quick` and `--demo` of `train`. */
import { createContainer } from '../../src/container';
import { definePlugin, PRESET_FORMS } from '../../src/contracts';
import { parseOverride, resolveConfig, withForm } from '../../src/outer';
import { here } from '../support/command-line';

const container = createContainer();
container.use(
  definePlugin(({ preset }) => {
    preset('upon', { description: 'builds upon another', config: { preset: 'lopt-fashion8', seed: 3 } });
  }),
);
const quick = { preset: 'lopt-fashion8' };

test.each(
  container
    .names('preset')
    .flatMap((name) =>
      PRESET_FORMS.filter((form) => container.preset(name)[form] !== undefined).map((form) => [name, form] as const),
    ),
)('%s has a valid form %s', (preset, form) => {
  const whole = resolveConfig({ preset }, [], container);
  const short = resolveConfig(withForm({ preset }, form, container), [], container);
  expect(short.preset).toBe(preset);
  expect(short.iterations).toBeLessThan(whole.iterations);
  // The same problem, whatever else differs.
  expect([short.task, short.data, short.horizon]).toEqual([whole.task, whole.data, whole.horizon]);
});

test('keys of a file win over the form, flags over both, and a preset has the form of what it builds upon', () => {
  const form = resolveConfig(withForm(quick, 'quick', container), [], container);
  const file = withForm({ ...quick, iterations: 77, estimator: { pairs: 3 } }, 'quick', container);
  const own = resolveConfig(file, [parseOverride('sigma=0.5')], container);
  expect(own).toEqual({ ...form, iterations: 77, estimator: { ...form.estimator, pairs: 3, sigma: 0.5 } });
  const upon = resolveConfig(withForm({ preset: 'upon' }, 'quick', container), [], container);
  expect(upon).toEqual({ ...form, preset: 'upon', seed: 3 });
});

test.each([
  [['train', 'lorenz', '--quick'], 'error: --quick: expected a preset that has this form, got "lorenz". These have: '],
  [['train', 'lorenz', '--demo'], 'error: --demo: expected a preset that has this form, got "lorenz". These have: '],
  [['train', 'lopt-fashon8', '--quick'], 'error: unknown preset "lopt-fashon8". Did you mean "lopt-fashion8"'],
  [['train', 'lopt-fashion8', '--quick', '--demo'], "error: option '--quick' cannot be used with option '--demo'"],
])('%s is a mistake', async (args, message) => {
  const { code, stderr } = await here(...args);
  expect([code, stderr.slice(0, message.length)]).toEqual([2, message]);
});
