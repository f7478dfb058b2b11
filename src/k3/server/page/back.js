/** The past of Machines: the bar of the last 24 hours, and how all of them were at a moment. Pure. */

import { bars, intervals, stateAt, uptime } from "/page/history.js";
import { time } from "/page/text.js";

const DAY_MS = 86_400_000;
/** One for each hour; in page.css each is 6 pixels wide. */
const SLOTS = 24;
const LABELS = { ready: "Ready", notready: "Not ready", unknown: "Unknown", none: "Not known" };

/** Returns what is known of a Machine's states, as `history.intervals` has it. */
export function known(machine, events, now) {
  const lostAt = machine.state.remark === "no observer" ? time(machine.state.since) : NaN;
  return intervals(machine.node, events, now, Number.isNaN(lostAt) ? null : lostAt);
}

/** Returns the bar of the last 24 hours: a CSS gradient, and the same in words. */
export function bar(machine, events, now) {
  const found = known(machine, events, now);
  const share = uptime(found, now - DAY_MS, now);
  if (share === null) return { image: "none", words: "Nothing is known of the last 24 hours" };
  return { image: gradient(bars(found, now - DAY_MS, now, SLOTS)), words: `Ready for ${percent(share)} of what is known of the last 24 hours` };
}

/** A share in words: only what was always Ready has 100 %. */
const percent = (share) => (share === 1 ? "100 %" : `${(Math.floor(share * 1000) / 10).toFixed(1)} %`);

function gradient(slots) {
  const stops = [];
  slots.forEach((state, place) => {
    const to = `${((place + 1) * 100) / SLOTS}%`;
    if (stops.at(-1)?.state === state) stops.at(-1).to = to;
    else stops.push({ state, from: `${(place * 100) / SLOTS}%`, to });
  });
  return `linear-gradient(90deg, ${stops.map(({ state, from, to }) => `var(--bar-${state}) ${from} ${to}`).join(", ")})`;
}

/** Returns a Machine as it was at a moment, as far as its Events tell: with the state of then. */
export function asOf(machine, events, when, now) {
  const kind = stateAt(known(machine, events, now), when);
  const state = { ...machine.state, kind, label: LABELS[kind], reason: "", message: "", remark: "", isCordoned: false };
  return Object.create(machine, { state: { value: state }, text: { value: undefined, writable: true } });
}
