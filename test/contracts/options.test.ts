import * as tf from '@tensorflow/tfjs';
import {
  ConfigurationError,
  hyperConfig,
  hyperNumber,
  meta,
  MetaParameter,
  parseMetaParameter,
  resolveHyperParameter,
  type FactoryContext,
} from '../../src/contracts';
import { constant } from '../../learned-optimizers';

beforeAll(() => tf.setBackend('cpu'));

test.each([
  ['meta.log(0.003)', meta.log(0.003)],
  ['meta.logit(0.9)', meta.logit(0.9)],
  ['meta.linear(-2)', meta.linear(-2)],
  [' meta.log( 1e-3 ) ', meta.log(1e-3)],
] as const)('"%s" is a meta-parameter', (text, expected) => {
  expect(parseMetaParameter(text)).toEqual(expected);
  expect(hyperNumber().parse(text)).toEqual(expected);
  expect(parseMetaParameter(expected.toString())).toEqual(expected);
});

test.each([
  ['meta.exp(1)', 'a number, or "meta.log(x)"'],
  ['meta.log()', 'a number, or "meta.log(x)"'],
  ['meta.log(0.1', 'a number, or "meta.log(x)"'],
  ['meta.log(x)', 'a positive finite number'],
  ['meta.log(-1)', 'a positive finite number'],
  ['meta.logit(1)', 'a number between 0 and 1, both excluded'],
])('"%s" is refused: expected %s', (text, expected) => {
  expect(() => parseMetaParameter(text)).toThrow(ConfigurationError);
  const { error } = hyperNumber().safeParse(text);
  expect(error!.issues[0].message).toContain(expected);
  // A hyperparameter that may be a schedule: still read as a wrong meta-parameter, not as a schedule of that name.
  expect(hyperConfig().safeParse(text).error!.issues[0].message).toContain(expected);
});

test('numbers, wrapped ones by their initial value, are held against the range', () => {
  const schema = hyperNumber({ min: 0, below: 1 });
  for (const good of [0, 0.5, 'meta.logit(0.9)', 'meta.linear(0)', meta.log(0.1)]) {
    expect(schema.safeParse(good).success).toBe(true);
  }
  for (const bad of [-0.1, 1, NaN, Infinity, 'meta.log(1)', 'meta.linear(-1)', meta.log(3), null, true, {}]) {
    expect(schema.safeParse(bad).success).toBe(false);
  }
  expect(schema.safeParse('meta.log(2)').error!.issues[0].message).toBe('a finite number at least 0 below 1');
});

test('a hyperparameter is a number, a learned number, or the configuration of a schedule', async () => {
  const schema = hyperConfig({ min: 0 });
  expect(schema.parse(0.1)).toBe(0.1);
  expect(schema.parse('meta.log(0.1)')).toBeInstanceOf(MetaParameter);
  expect(schema.parse('cosine')).toEqual({ schedule: 'cosine' });
  const config = { name: 'inverse-time', initial: 'meta.log(0.1)', decay: 1 };
  expect(schema.parse(config)).toEqual({ schedule: config });
  expect(schema.safeParse({ initial: 1 }).error!.issues[0].message).toContain('a schedule: its name, or {name, …}');
  expect(schema.safeParse(-1).success).toBe(false);

  const made = constant({ value: 1 });
  const asked: unknown[] = [];
  const context = {
    create: (kind: string, given: unknown) => {
      asked.push([kind, given]);
      return Promise.resolve(made);
    },
  } as unknown as FactoryContext;
  expect(await resolveHyperParameter(0.1, context)).toBe(0.1);
  expect(asked).toEqual([]);
  expect(await resolveHyperParameter({ schedule: config }, context)).toBe(made);
  expect(asked).toEqual([['schedule', config]]);
});
