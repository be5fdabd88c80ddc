export {
  traceFunction,
  traceGraph,
  traceInnerFunction,
  type TraceFor,
  type TraceFunctionOptions,
  type TraceRequest,
} from './function';
export { traceProblem, type TraceOptions } from './problem';
export { traceUpdate, type UpdateGraphs } from './update';
export { KERNEL_RULES } from './rules';
