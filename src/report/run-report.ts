import type { ConfigObject, ThetaDescription, ThetaLayout } from '../contracts';
import type { Measurement } from '../outer/events';
import type { RunResult } from '../outer/result';
import { coordinateNames } from '../outer/theta';
import type { UpdateMap } from './update-map';

/** Everything the page shows; `result` is read from a run folder or comes from a run in memory. */
export interface RunReport {
  readonly title: string;
  readonly result: RunResult;
  /** Resolved configuration. */
  readonly config: ConfigObject;
  readonly seed: number;
  /** A command, or code, that runs it again. */
  readonly reproduce: string;
  /** Of a run of a learned optimizer: what it does, and another one to see beside it. */
  readonly updates?: readonly UpdateMap[];
}

/** θ at one end of the run: what it means, and how it was measured. */
export interface ReportedTheta {
  readonly description?: ThetaDescription;
  readonly measurement?: Measurement;
}

export function thetaBefore(result: RunResult): ReportedTheta {
  return { description: result.initialDescription, measurement: result.before };
}

export function thetaAfter(result: RunResult): ReportedTheta {
  return { description: result.description, measurement: result.after };
}

/** More lines than this tell nothing in one picture. */
const MOST_NAMES = 8;

/** Names of θ's numbers in order, or none if there are too many to draw. */
export function thetaNames(layout: ThetaLayout): string[] {
  return layout.size > MOST_NAMES ? [] : coordinateNames(layout);
}
