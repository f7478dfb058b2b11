/** Texts of machines made fit to be shown, and lengths of time as kubectl writes them. Pure. */

const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}]/gu;
/** More marks on one letter than any language has. */
const PILED = /(\p{M}{3})\p{M}+/gu;

/** Returns a text in which every character that cannot be seen is written as its number, as `k3.core.safe_text` does. */
export function printable(text, limit = 1000) {
  const whole = typeof text === "string" ? text : text === undefined || text === null ? "" : String(text);
  const cut = whole.length > limit ? `${whole.slice(0, limit)}…` : whole;
  return cut.replace(UNSEEN, escaped).replace(PILED, "$1");
}

function escaped(character) {
  const number = character.codePointAt(0);
  if (number > 0xffff) return `\\U${number.toString(16).padStart(8, "0")}`;
  return number > 0xff ? `\\u${number.toString(16).padStart(4, "0")}` : `\\x${number.toString(16).padStart(2, "0")}`;
}

const MINUTE = 60, HOUR = 3600, DAY = 86400, YEAR = 31536000;
/** Below so many seconds: the unit, its seconds, the second unit (none: left out), its seconds. As in `k3.view.cells`. */
const STEPS = [
  [2 * MINUTE, "s", 1, "", 1],
  [10 * MINUTE, "m", MINUTE, "s", 1],
  [3 * HOUR, "m", MINUTE, "", 1],
  [8 * HOUR, "h", HOUR, "m", MINUTE],
  [2 * DAY, "h", HOUR, "", 1],
  [8 * DAY, "d", DAY, "h", HOUR],
  [2 * YEAR, "d", DAY, "", 1],
  [8 * YEAR, "y", YEAR, "d", DAY],
];

/** Returns a length of time in milliseconds as kubectl shows it: `5s`, `3m20s`, `4h`, `12d`, `2y40d`. */
export function duration(milliseconds) {
  const total = Math.max(0, Math.trunc(milliseconds / 1000));
  for (const [below, unit, size, rest, restSize] of STEPS) {
    if (total >= below) continue;
    const left = rest ? Math.floor((total % size) / restSize) : 0;
    return `${Math.floor(total / size)}${unit}${left ? `${left}${rest}` : ""}`;
  }
  return `${Math.floor(total / YEAR)}y`;
}

/** Returns the milliseconds of a time stamp of Kubernetes' (RFC 3339); NaN: there is none that can be read. */
export function time(stamp) {
  return typeof stamp === "string" && STAMP.test(stamp) ? Date.parse(stamp) : NaN;
}
const STAMP = /^\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d))?$/;

/** Returns a time of day as the reader's clock shows it: `12:03:04`. */
export const clock = (milliseconds) =>
  new Date(milliseconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

/** Returns a count with its word: `1 machine`, `2 machines`. */
export const count = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
