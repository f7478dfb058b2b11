// What is wrong with the list itself, not with a machine: names that two machines want, clones, wrong clocks, unreadable Nodes.

import { make } from "/page/dom.js";
import { eventTime } from "/page/history.js";
import * as states from "/page/states.js";
import { count, duration, printable } from "/page/text.js";

/** @typedef {{kind: "conflict"|"clone"|"clock"|"unreadable", node: string, text: string}} Finding  `node` may be empty. */

const DAY_MS = 86_400_000;
const TITLES = { conflict: "Name conflicts", clone: "Clones", clock: "Wrong clocks", unreadable: "Unreadable" };
const KINDS = Object.keys(TITLES);
const SECOND_NAME = /^(.+)-([0-9a-f]{6})$/;
const CONFLICTS = new Set(["NameConflict", "IdentityChanged"]);
const SHOWN = 50;
const TURN_MS = 8;

/**
 * @param {Iterable<any>} nodes all there are
 * @param {Iterable<any>} [events] about them; those of the last day count
 * @param {number} [now]
 * @returns {Finding[]} by kind, then by name
 */
export function findings(nodes, events = [], now = Date.now()) {
  const seen = Array.from(nodes, (node) => {
    const each = known(node);
    each.agrees = each.source === null || (Number.isNaN(each.lastSeen) ? !each.isReady : !states.isAhead(each.lastSeen, now) && now <= each.until);
    return each;
  });
  const found = [...conflicts(seen, [...events], now), ...seen.flatMap(cloned), ...clocks(seen, now), ...seen.flatMap(unreadable)];
  return found.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || (a.node < b.node ? -1 : a.node > b.node ? 1 : 0));
}

/** Reads the Nodes that have not been read yet, a few at a time, so that nobody waits for it. */
export async function prepare(nodes) {
  let began = performance.now();
  for (const node of nodes) {
    known(node);
    if (performance.now() - began < TURN_MS) continue;
    await new Promise((resolve) => setTimeout(resolve));
    began = performance.now();
  }
}

/** What counts here of each Node, worked out once: thousands are asked about again and again. */
const memory = new WeakMap();

function known(node) {
  if (!memory.has(node)) memory.set(node, read(node));
  return memory.get(node);
}

function read(node) {
  const ready = states.condition(node, "Ready");
  const source = states.owner(node, ready);
  const notes = states.annotations(node);
  const prefix = source?.prefix ?? "k3.network/";
  const note = (key) => String(notes[prefix + key] ?? "");
  const isReady = source !== null && ready?.status === "True";
  const lastSeen = states.lastSeen(node, source, ready);
  const hasMore = node?.status?.conditions?.length > 1;
  return {
    ready,
    source,
    name: states.nameOf(node),
    isReady,
    agrees: true,
    until: states.believedUntil(node, source, lastSeen),
    isReachable: !hasMore || states.condition(node, "k3.network/Reachable")?.status !== "False",
    cloned: hasMore ? states.condition(node, "k3.network/Cloned") : null,
    id: note("id"),
    seenBy: note("seen-by"),
    seenRun: note("seen-run"),
    runs: [note("agent"), note("boot")].filter(Boolean),
    lastSeen,
  };
}

function conflicts(seen, events, now) {
  const names = new Set(seen.map((each) => each.name));
  const found = new Map();
  for (const each of seen) {
    const [, name, digits] = SECOND_NAME.exec(each.name) ?? [];
    if (!name || !each.id.startsWith(digits)) continue;
    const holder = names.has(name) ? `Another machine is listed as ${name}` : `Another machine had the name ${name}`;
    found.set(each.name, `${holder}, so this one goes by ${each.name}. Rename one of the two, or give one of them --node-name.`);
  }
  for (const event of events) {
    const name = event?.involvedObject?.name;
    if (!CONFLICTS.has(event?.reason) || !names.has(name) || found.has(name)) continue;
    if (now - eventTime(event) < DAY_MS) found.set(name, String(event.message || event.reason));
  }
  return [...found].map(([node, text]) => ({ kind: "conflict", node, text }));
}

function cloned(each) {
  if (each.cloned?.status === "True") return [{ kind: "clone", node: each.name, text: each.cloned.message || "Another machine has its identity." }];
  return []; // one that is told apart by now, with the annotation `clone-of`, is well
}

function unreadable(each) {
  if (!states.isUnreadable(each.source, each.ready)) return [];
  return [{ kind: "unreadable", node: each.name, text: each.ready.message || "What is stored under this name cannot be read." }];
}

/** As `k3.core.freshness` finds them: stamps that are off although an agent is known to look after the Node. */
function clocks(seen, now) {
  const ready = seen.filter((each) => each.isReady);
  const right = new Set(ready.filter((each) => each.agrees).map((each) => each.seenBy));
  const wrong = ready.filter((each) => each.seenBy && !Number.isNaN(each.lastSeen) && !right.has(each.seenBy));
  if (wrong.length === 0) return [];
  const observed = observedOf(seen, seen.filter((each) => each.agrees));
  const ahead = new Map();
  for (const each of wrong) {
    const off = each.lastSeen - now;
    if (off < 0 && !(right.size > 0 && observed.has(each.name))) continue;
    if (!(Math.abs(ahead.get(each.seenBy)) <= Math.abs(off))) ahead.set(each.seenBy, off);
  }
  if (ahead.size > 1 && right.size === 0) {
    const least = [...ahead.values()].reduce((a, b) => Math.min(a, b));
    const text = `No machine agrees with the clock of this page: it seems to be ${duration(least)} behind.`;
    return [{ kind: "clock", node: "", text }];
  }
  return [...ahead].map(([node, off]) => ({
    kind: "clock",
    node,
    text: `Its clock is ${duration(Math.abs(off))} ${off > 0 ? "ahead" : "behind"}. On that machine: timedatectl set-ntp true`,
  }));
}

/** The names of the Nodes that an agent looks after: as long as the run that saw one of them lives. */
function observedOf(seen, waiting) {
  const byRun = new Map();
  for (const each of seen) {
    if (byRun.has(each.seenRun)) byRun.get(each.seenRun).push(each);
    else byRun.set(each.seenRun, [each]);
  }
  const found = new Set();
  while (waiting.length > 0) {
    const each = waiting.pop();
    if (found.has(each.name)) continue;
    found.add(each.name);
    if (!each.isReady || !each.isReachable) continue;
    for (const run of each.runs) {
      for (const next of byRun.get(run) ?? []) if (!found.has(next.name)) waiting.push(next);
    }
  }
  return found;
}

/** Findings as a list that a person reads, in an element that is hidden while there are none. */
export class FindingsView {
  /** @param {{root: HTMLElement, onopen: (name: string) => void}} options `onopen`: a Node is to be shown. */
  constructor({ root, onopen }) {
    this.root = root;
    this.onopen = onopen;
    this.shown = "";
  }

  /** @param {Finding[]} found */
  show(found) {
    const key = JSON.stringify(found);
    if (key === this.shown) return;
    const focused = document.activeElement?.closest?.("[data-finding]")?.getAttribute("data-finding");
    this.shown = key;
    this.root.hidden = found.length === 0;
    const groups = KINDS.map((kind) => [kind, found.filter((each) => each.kind === kind)]).filter(([, some]) => some.length > 0);
    this.root.replaceChildren(...groups.map(([kind, some]) => this.#group(kind, some)));
    if (focused) this.root.querySelector(`[data-finding="${CSS.escape(focused)}"]`)?.focus();
  }

  #group(kind, some) {
    const title = make("summary", {}, make("span", { class: "finding-title" }, TITLES[kind]), make("span", { class: "finding-count" }, String(some.length)));
    const rest = some.length - SHOWN;
    const items = some.slice(0, SHOWN).map((each) => this.#item(kind, each));
    if (rest > 0) items.push(make("li", { class: "quiet" }, `and ${count(rest, "other", "others")}`));
    return make("details", { class: "finding", "data-kind": kind, open: some.length <= 3 }, title, make("ul", {}, ...items));
  }

  #item(kind, { node, text }) {
    const open = () => this.onopen(node);
    const name = node && make("button", { type: "button", class: "link", "data-finding": `${kind}/${node}`, onclick: open }, printable(node, 253));
    return make("li", {}, name, make("span", { class: "machine-text" }, printable(text)));
  }
}
