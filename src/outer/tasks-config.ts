/** Several tasks in a configuration: `tasks`, in place of `task`. */
import { z } from 'zod';
import { ConfigurationError, type NamedConfig } from '../contracts';
import { checkNamed } from './config-check';
import type { Resolver } from './resolver';
import { checkNames, NORMALISERS, type Normaliser } from './several-tasks';

/** One of several tasks. */
export interface MemberConfig {
  /** By default `task 1` … */
  readonly name?: string;
  readonly task: NamedConfig;
  /** By default the configuration's own. */
  readonly data?: NamedConfig;
  readonly weight: number;
}

/** Members, or a family that they are drawn from when the run is prepared. */
export interface TasksConfig {
  readonly members?: readonly MemberConfig[];
  readonly family?: NamedConfig;
  readonly count?: number;
  /** Absent: `initial-loss` for an objective on the loss, else `none`. */
  readonly normaliser?: Normaliser;
}

const named = z.looseObject({ name: z.string().min(1) });

/**
 * Tasks beside the one of a configuration: names (see `metaTestTasks`), or what differs from it. Of a list in a file, of
 * `evaluation.tasks`.
 */
export const taskListSchema = z.array(
  z.union([
    z.string().min(1),
    z.strictObject({
      name: z.string().min(1),
      task: z.union([z.string(), z.looseObject({})]).optional(),
      data: z.union([z.string(), z.looseObject({ name: z.string() })]).optional(),
      horizon: z.int().positive().optional(),
    }),
  ]),
);

export const tasksSchema = z.strictObject({
  members: z
    .array(
      z.strictObject({
        name: z.string().min(1).optional(),
        task: named,
        data: named.optional(),
        weight: z.number().positive().default(1),
      }),
    )
    .optional(),
  family: named.optional(),
  count: z.int().positive().optional(),
  normaliser: z.enum(NORMALISERS).optional(),
});

/** How the i-th member is called. */
export const memberName = ({ name }: Pick<MemberConfig, 'name'>, i: number): string => name ?? `task ${String(i + 1)}`;

/**
 * Checks names and options, and fills in defaults.
 * @throws ConfigurationError, UnknownNameError, naming the member
 */
export function resolveTasks(tasks: TasksConfig, resolver: Resolver): TasksConfig {
  const { members, family, count } = tasks;
  if ((members === undefined) === (family === undefined)) {
    throw new ConfigurationError(
      'tasks',
      'members, or a family and a count',
      members === undefined ? 'neither' : 'both',
    );
  }
  if ((family === undefined) !== (count === undefined)) {
    throw family === undefined
      ? new ConfigurationError('tasks.count', 'nothing beside "tasks.members"', String(count))
      : new ConfigurationError('tasks.count', 'a positive integer, how many tasks of the family', 'nothing');
  }
  if (family !== undefined) return { ...tasks, family: checkNamed('family', family, 'tasks.family', resolver) };
  return { ...tasks, members: resolveMembers(members!, resolver) };
}

export function resolveMembers(members: readonly MemberConfig[], resolver: Resolver): readonly MemberConfig[] {
  if (members.length === 0) throw new ConfigurationError('tasks.members', 'one or more tasks', 'none');
  checkNames(members.map(memberName));
  return members.map(({ task, data, ...rest }, i) => {
    const at = `tasks.members.${String(i)}`;
    return {
      ...rest,
      task: checkNamed('task', task, `${at}.task`, resolver),
      ...(data === undefined ? {} : { data: checkNamed('dataset', data, `${at}.data`, resolver) }),
    };
  });
}
