// What a Node's Events and its Ready condition tell of its past: pure functions, no clock, no page.
//
// k3 keeps at most 64 Events of a Node, so the past begins somewhere, and what was before is "none": not known.
// The clocks of those who wrote may be wrong. The order in which the store took the Events holds whatever the clocks
// say, so what is told with a time that contradicts it happened at a time that is not known. The Ready condition has the last word.

/** @typedef {"ready"|"notready"|"unknown"|"none"} State  "none": nothing is known of that time. */
/** @typedef {{from: number, to: number, state: State}} Interval  Milliseconds since 1970, `to` not included. */
/** @typedef {{at: number, state: State|null}} Mark  null: the Event does not tell the state that it left. */

import { condition } from "/page/states.js";
import { time } from "/page/text.js";

const SKEW_MS = 5_000;
/** Of other programs there may be more Events than k3 keeps: so many of the newest are read. */
const MOST = 256;
const BY_STATUS = new Map([["True", "ready"], ["False", "notready"]]);
const AFTER = { NodeReady: "ready", NodeNotReady: "notready", NodeUnknown: "unknown" };
/** Events behind which the state may be another one, and that do not say which. */
const ENTRIES = new Set(["Registered", "Adopted", "NameConflict", "IdentityChanged"]);
/** How the messages begin by which older versions told that a state is not known. */
const UNKNOWN_MESSAGES = ["no word from Consul", "the Consul agent of this machine does not answer"];
const BADNESS = { none: 0, ready: 1, unknown: 2, notready: 3 };

/**
 * What is known of a Node's states, oldest first, without gaps and without two neighbours of one state.
 * @param {any} node a `v1 Node`
 * @param {any[]} events those about the Node, in any order
 * @param {number} now
 * @param {number|null} [lostAt] since when no agent has looked after the Node, where that is so
 * @returns {Interval[]} empty where nothing is known
 */
export function intervals(node, events, now, lostAt = null) {
  const written = told(node, events ?? []);
  const kept = place(written, now);
  const newest = newestOf(node, written, now);
  resolve(written, newest);
  const marks = certain(written, kept);
  if (newest && marks.at(-1)?.state !== newest.state) marks.push(newest);
  if (lostAt !== null && marks.at(-1)?.state === "ready") {
    marks.push({ at: Math.min(Math.max(lostAt, marks.at(-1).at), now), state: "unknown" });
  }
  /** @type {Interval[]} */
  const found = [];
  for (const [index, mark] of marks.entries()) {
    const to = index + 1 < marks.length ? marks[index + 1].at : now;
    const last = found.at(-1);
    if (last && last.state === mark.state) last.to = to;
    else if (to > mark.at || index === marks.length - 1) found.push({ from: mark.at, to, state: mark.state });
  }
  while (found[0]?.state === "none") found.shift();
  return found;
}

/**
 * The share of the known time in which the machine was known to be Ready.
 * @param {Interval[]} known @param {number} from @param {number} to
 * @returns {number|null} from 0 to 1; null where nothing is known
 */
export function uptime(known, from, to) {
  const spent = shares(known, from, to);
  const total = spent.ready + spent.notready + spent.unknown;
  return total > 0 ? spent.ready / total : null;
}

/**
 * How long it was in each state, in milliseconds.
 * @param {Interval[]} known @param {number} from @param {number} to
 * @returns {{ready: number, notready: number, unknown: number, none: number}}
 */
export function shares(known, from, to) {
  const spent = { ready: 0, notready: 0, unknown: 0, none: Math.max(0, to - from) };
  for (const each of known) {
    const span = Math.min(each.to, to) - Math.max(each.from, from);
    if (span <= 0 || each.state === "none") continue;
    spent[each.state] += span;
    spent.none -= span;
  }
  return spent;
}

/**
 * @param {Interval[]} known @param {number} when
 * @returns {State}
 */
export function stateAt(known, when) {
  const last = known.at(-1);
  if (last && when === last.to) return last.state;
  return known.find((each) => each.from <= when && when < each.to)?.state ?? "none";
}

/**
 * The worst state in each of `count` slices of the same length.
 * @param {Interval[]} known @param {number} from @param {number} to @param {number} count
 * @returns {State[]}
 */
export function bars(known, from, to, count) {
  /** @type {State[]} */
  const found = new Array(count).fill("none");
  const span = (to - from) / count;
  for (const each of known) {
    if (each.to <= from || each.from >= to) continue;
    const first = Math.max(0, Math.floor((each.from - from) / span));
    const last = Math.min(count - 1, Math.ceil((each.to - from) / span) - 1);
    for (let index = first; index <= last; index++) {
      if (BADNESS[each.state] > BADNESS[found[index]]) found[index] = each.state;
    }
  }
  return found;
}

/**
 * When an Event happened last, in milliseconds; NaN where it does not say.
 * @param {any} event
 */
export function eventTime(event) {
  const stamps = [event?.series?.lastObservedTime, event?.lastTimestamp, event?.eventTime, event?.firstTimestamp];
  return stamps.map(time).find((at) => !Number.isNaN(at)) ?? Number.NaN;
}

/**
 * Events in the order in which the store took them, oldest first.
 * @param {any[]} events
 */
export function inOrder(events) {
  const revision = (event) => String(event?.metadata?.resourceVersion ?? "");
  const isNumber = (text) => /^[0-9]{1,30}$/.test(text);
  return [...events].sort((a, b) => {
    const [left, right] = [revision(a), revision(b)];
    if (!isNumber(left) || !isNumber(right)) return (eventTime(a) || 0) - (eventTime(b) || 0);
    return left.length - right.length || (left < right ? -1 : left > right ? 1 : 0);
  });
}

/** @returns {Mark[]} */
function told(node, events) {
  const { uid, name } = node?.metadata ?? {};
  /** @type {Mark[]} */
  const marks = [];
  let wasAnother = false;
  for (const event of inOrder(events).slice(-MOST)) {
    const state = stateBehind(event);
    if (state === undefined) continue;
    // An earlier Node of the name was deleted nobody knows when: what became of it after its last Event is not known.
    const about = event.involvedObject?.uid;
    const isAnother = Boolean(about && uid && about !== uid && about !== name);
    if (wasAnother && !isAnother) marks.push({ at: marks.at(-1).at, state: "none" });
    wasAnother = isAnother;
    const first = time(event.firstTimestamp);
    if (event.count > 1 && first < eventTime(event) && !(first < marks.at(-1)?.at)) marks.push({ at: first, state });
    marks.push({ at: eventTime(event), state });
  }
  if (wasAnother) marks.push({ at: marks.at(-1).at, state: "none" });
  return marks;
}

/** The state behind an Event; null: it does not say; undefined: it is about something else. */
function stateBehind(event) {
  const reason = event?.reason;
  if (ENTRIES.has(reason)) {
    const reporter = event.source?.component || event.reportingComponent;
    return reporter === "k3-network" && reason !== "IdentityChanged" ? "ready" : null;
  }
  if (!Object.hasOwn(AFTER, reason ?? "")) return undefined;
  const message = String(event.message ?? "");
  return reason === "NodeNotReady" && UNKNOWN_MESSAGES.some((each) => message.startsWith(each)) ? "unknown" : AFTER[reason];
}

/**
 * Gives marks, which are in the order of writing, times in that order, and returns those whose times stay: the longest
 * series that agrees with it.
 */
function place(marks, now) {
  const is = (mark) => mark.at <= now + SKEW_MS;
  const length = [];
  const former = [];
  let end = -1;
  for (const [index, mark] of marks.entries()) {
    length[index] = 0;
    if (!is(mark)) continue;
    length[index] = 1;
    former[index] = -1;
    for (let before = 0; before < index; before++) {
      if (!length[before] || marks[before].at > mark.at || length[before] + 1 < length[index]) continue;
      // of two that are as long, the one that leaves the smaller gap: a clock that was reset says 1970
      if (length[before] + 1 === length[index] && former[index] >= 0 && marks[before].at < marks[former[index]].at) continue;
      length[index] = length[before] + 1;
      former[index] = before;
    }
    if (end < 0 || length[index] >= length[end]) end = index;
  }
  const kept = new Set();
  for (let index = end; index >= 0; index = former[index]) kept.add(index);
  let at = end < 0 ? now : Math.min(marks[Math.min(...kept)].at, now);
  for (const [index, mark] of marks.entries()) {
    if (kept.has(index)) at = Math.min(mark.at, now);
    mark.at = at;
  }
  return new Set(marks.filter((_, index) => kept.has(index)));
}

/** The marks with times that count; where others were told between two of them, that time is not known. */
function certain(marks, kept) {
  /** @type {Mark[]} */
  const found = [];
  for (const mark of marks) {
    const last = found.at(-1);
    if (kept.has(mark)) found.push(mark);
    else if (last && last.state !== mark.state) found.push({ at: mark.at, state: "none" });
  }
  return found;
}

/** What the Ready condition says, behind everything that the Events say: it is the newest truth. */
function newestOf(node, marks, now) {
  const ready = condition(node, "Ready");
  if (ready === null) return undefined;
  const since = time(ready.since);
  const earliest = marks.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
  const at = since <= now ? Math.max(since, earliest) : marks.length > 0 && since > now + SKEW_MS ? earliest : now;
  return { at, state: BY_STATUS.get(ready.status) ?? "unknown" };
}

/** Fills in the states that Events left open: by the state that the next one ends, as k3 tells of changes only. */
function resolve(marks, newest) {
  for (const [index, mark] of marks.entries()) {
    if (mark.state !== null) continue;
    const next = marks.slice(index + 1).find((each) => each.state !== null) ?? newest;
    const before = index > 0 ? marks[index - 1].state : "none";
    if (!next) mark.state = before;
    else if (next === newest && next.at <= mark.at) mark.state = next.state;
    else if (next.state !== "ready") mark.state = "ready";
    else mark.state = before === "none" || before === "ready" ? "unknown" : before;
  }
}
