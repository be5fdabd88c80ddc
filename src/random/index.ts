export * from './draws';
export * from './eager';
export * from './keys';
export * from './threefry';
