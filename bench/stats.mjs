/** The few statistics that the benchmarks use. */

/**
 * The value below which the part `q` of the values lies, by nearest rank; NaN without values.
 * @param {ArrayLike<number>} values
 * @param {number} q from 0 to 1
 */
export function quantile(values, q) {
  const sorted = Float64Array.from(values).toSorted();
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? NaN;
}

/** @param {readonly number[]} values */
export function median(values) {
  return quantile(values, 0.5);
}

/** @param {readonly number[]} values */
export function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/**
 * How far the values lie apart, as a part of their median; nothing without a median to compare with.
 * @param {readonly number[]} values
 */
export function spread(values) {
  const middle = median(values);
  return values.length > 1 && middle !== 0 ? (Math.max(...values) - Math.min(...values)) / Math.abs(middle) : undefined;
}
