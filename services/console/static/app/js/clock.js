// The recorder's time. This computer's clock may be another, by minutes or by years; what is shown and asked for goes by the recorder's.

/** Answers tell the recorder's time in whole seconds. */
const STEP_MS = 1000;

let aheadMs = 0; // of the recorder's clock, as far as it is known

/** Milliseconds since 1970, by the recorder's clock. */
export const now = () => Date.now() - aheadMs;

/**
 * An answer has come.
 *
 * @param {string | null} date its `Date` header
 * @param {number} sentMs when it was asked for, @param {number} cameMs when it came: by this computer's clock
 */
export function learn(date, sentMs, cameMs) {
  const told = Date.parse(date ?? "");
  if (Number.isNaN(told) || cameMs < sentMs) return;
  const least = sentMs - (told + STEP_MS);
  const most = cameMs - told;
  if (aheadMs < least || aheadMs > most) aheadMs = (least + most) / 2; // what agrees with the answer stays: times on the page do not waver
}
