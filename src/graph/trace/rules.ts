/** Every tfjs kernel that can be traced. */
import type { KernelRule } from './kernel';
import { CONTRACTION_RULES } from './rules-contraction';
import { ELEMENTWISE_RULES } from './rules-elementwise';
import { INDEXING_RULES } from './rules-indexing';
import { MOVEMENT_RULES } from './rules-movement';
import { REDUCTION_RULES } from './rules-reduce';
import { WINDOW_RULES } from './rules-windows';

export const KERNEL_RULES: Readonly<Record<string, KernelRule>> = {
  ...ELEMENTWISE_RULES,
  ...REDUCTION_RULES,
  ...MOVEMENT_RULES,
  ...INDEXING_RULES,
  ...CONTRACTION_RULES,
  ...WINDOW_RULES,
};
