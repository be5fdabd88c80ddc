/** The configuration's `horizon`: a number of inner steps, no end, or a schedule of training episodes. */
import { z } from 'zod';
import {
  ConfigurationError,
  HORIZON_SCHEDULES,
  horizonEnds,
  longestHorizon,
  UnknownNameError,
  type ConfigObject,
  type HorizonSchedule,
} from '../contracts';
import { checkWith } from './config-check';
import { nearNames } from './resolver';

export type Horizon = number | 'infinite' | HorizonSchedule;

const steps = z.int().positive();

const scheduleSchema = z.discriminatedUnion('name', [
  z.strictObject({ name: z.literal('log-uniform'), low: steps, high: steps }),
  z.strictObject({ name: z.literal('growing'), from: steps, to: steps, iterations: steps }),
]);

export const horizonSchema = z.union([steps, z.literal('infinite'), scheduleSchema]);

/** Inner steps of the longest episode, which evaluations run. */
export const horizonSteps = (horizon: Horizon): number => (horizon === 'infinite' ? Infinity : longestHorizon(horizon));

/** What a run's record says of its horizon, in inner steps; undefined where it says nothing. */
export function recordedSteps({ horizon }: ConfigObject): number | undefined {
  const found = horizonSchema.safeParse(horizon);
  return found.success ? horizonSteps(found.data) : undefined;
}

/** @throws ConfigurationError, UnknownNameError for a schedule that is none; of what is no object, nothing is said */
export function checkSchedule(horizon: unknown): void {
  if (typeof horizon !== 'object' || horizon === null) return;
  const { name } = horizon as Partial<HorizonSchedule>;
  if (typeof name === 'string' && !HORIZON_SCHEDULES.includes(name)) {
    throw new UnknownNameError('horizon schedule', name, nearNames(name, HORIZON_SCHEDULES), HORIZON_SCHEDULES);
  }
  const schedule = checkWith(scheduleSchema, horizon, 'horizon');
  const [[lowKey, low], [highKey, high]] = Object.entries(horizonEnds(schedule));
  if (low < high) return;
  throw new ConfigurationError(
    `horizon.${highKey}`,
    `more than horizon.${lowKey}, which is ${String(low)}`,
    String(high),
  );
}
