export const TENSORBOARD: 'tensorboard';
export function tensorboardPython(): string | undefined;
