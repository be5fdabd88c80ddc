/** A number of bytes for people. */
export function bytesText(bytes: number): string {
  if (bytes < 2 ** 10) return `${Math.round(bytes)} bytes`;
  const [power, unit] = bytes < 2 ** 17 ? [10, 'KiB'] : bytes < 2 ** 34 ? [20, 'MiB'] : [30, 'GiB'];
  return `${(bytes / 2 ** power).toFixed(1)} ${unit}`;
}
