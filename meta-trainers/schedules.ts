import { z } from 'zod';
import type { IterationSchedule } from '../src/contracts';

const positive = z.number().positive();
const count = z.number().int().min(1);

/** Linear warm-up over the first iterations: iteration i < warmup gets (i+1)/warmup of the schedule's number. */
const warmup = z.number().int().min(0).default(0);

const forms = z.discriminatedUnion('name', [
  z.strictObject({ name: z.literal('constant'), value: positive, warmup }),
  z.strictObject({
    name: z.literal('exponential'),
    initial: positive,
    factor: positive,
    every: positive.default(1),
    warmup,
  }),
  z.strictObject({
    name: z.literal('cosine'),
    initial: positive,
    final: z.number().min(0),
    start: z.number().int().min(0).default(0),
    iterations: count,
    warmup,
  }),
  z.strictObject({
    name: z.literal('piecewise'),
    initial: positive,
    steps: z.array(z.strictObject({ at: z.number().int().min(0), factor: positive })),
    warmup,
  }),
]);

const names = forms.options.map((form) => form.shape.name.value);

export type ScheduleOptions = number | z.input<typeof forms> | IterationSchedule;
export type ScheduleSpec = number | z.output<typeof forms> | IterationSchedule;

/**
 * A positive number that may depend on the outer iteration i (from 0):
 * - a number, or `{name: 'constant', value}`
 * - `exponential`: initial·factor^(i/every)
 * - `cosine`: initial until `start`, then along half a cosine to `final` over `iterations`, `final` from there on
 * - `piecewise`: initial times every `factor` whose `at` ≤ i
 *
 * In library calls also a function of i. Each form takes `warmup`, a linear rise over the first iterations.
 */
export const scheduleSchema = z.unknown().transform((input, ctx): ScheduleSpec => {
  if (typeof input === 'function') return input as IterationSchedule;
  if (typeof input === 'number' && input > 0 && input < Infinity) return input;
  if (typeof input !== 'object' || input === null) {
    ctx.addIssue({ code: 'custom', message: `a positive number or {name: ${names.join(' | ')}, …}`, input });
    return z.NEVER;
  }
  const parsed = forms.safeParse(input);
  if (parsed.success) return parsed.data;
  for (const issue of parsed.error.issues) {
    ctx.addIssue(
      issue.code === 'invalid_union'
        ? { code: 'custom', path: ['name'], message: `one of ${names.join(', ')}`, input }
        : ({ ...issue, input } as Parameters<typeof ctx.addIssue>[0]),
    );
  }
  return z.NEVER;
}) as unknown as z.ZodType<ScheduleSpec, ScheduleOptions>;

function base(spec: z.output<typeof forms>, iteration: number): number {
  switch (spec.name) {
    case 'constant':
      return spec.value;
    case 'exponential':
      return spec.initial * Math.pow(spec.factor, iteration / spec.every);
    case 'cosine': {
      const progress = Math.min(1, Math.max(0, (iteration - spec.start) / spec.iterations));
      return spec.final + (spec.initial - spec.final) * 0.5 * (1 + Math.cos(Math.PI * progress));
    }
    case 'piecewise':
      return spec.steps.reduce((value, step) => (iteration >= step.at ? value * step.factor : value), spec.initial);
  }
}

/** The schedule as a function of the outer iteration. */
export function iterationSchedule(spec: ScheduleSpec): IterationSchedule {
  if (typeof spec === 'function') return spec;
  if (typeof spec === 'number') return () => spec;
  return (iteration) => base(spec, iteration) * (iteration < spec.warmup ? (iteration + 1) / spec.warmup : 1);
}
