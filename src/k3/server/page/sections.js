// The parts of the drawer that only show: each is made of a Node, its Events and the time, and returns elements or null.
//
// Texts of machines pass through `printable` and into text nodes. Ages are written by `tick` into <time data-at>.

import { make } from "/page/dom.js";
import { bars, eventTime, inOrder, shares, uptime } from "/page/history.js";
import { endpoint, wordOf } from "/page/meaning.js";
import * as states from "/page/states.js";
import { count, duration, printable, time } from "/page/text.js";
import { moment } from "/page/timeslider.js";

const DAY_MS = 86_400_000;
const SPANS = [
  { label: "24 h", spoken: "24 hours", ms: DAY_MS, slices: 48 },
  { label: "7 d", spoken: "7 days", ms: 7 * DAY_MS, slices: 42 },
  { label: "30 d", spoken: "30 days", ms: 30 * DAY_MS, slices: 30 },
];
const WORDS = { ready: "ready", notready: "not ready", unknown: "unknown", none: "not known" };
const SKEW_MS = 5_000;
const MOST = 50;
const EVENTS = 100;
/** As `limits.EVENTS_PER_NODE` in `k3.core`. */
const KEPT = 64;
const TEXT = 300;
/** By the prefix of a source: the conditions, and the status of each, by which it says that something is odd. */
const DOUBTS = {
  "k3.network/": [["k3.network/Reachable", "False"], ["k3.network/Cloned", "True"]],
  "k3.discovery/": [["k3.discovery/Warning", "True"]],
};
const PREFIXES = Object.keys(DOUBTS);

const mapping = (value) => (value !== null && typeof value === "object" && !Array.isArray(value) ? value : {});

/** @typedef {{node: any, events: any[], known: import("/page/history.js").Interval[], now: number, words: any}} Seen */

/** @param {Seen} seen */
export function history({ known, now, events }) {
  const rows = SPANS.map((span) => historyRow(span, known, now));
  return [...rows, legend(known, now), make("p", { class: "quiet" }, beginning(known, now, events))];
}

/** What the colours mean that are to be seen. */
function legend(known, now) {
  const spent = shares(known, now - SPANS.at(-1).ms, now);
  const seen = Object.keys(WORDS).filter((state) => spent[state] > 0);
  return make("div", { class: "legend", "aria-hidden": "true" }, ...seen.map((state) => make("span", {}, make("span", { class: "slice", "data-state": state }), WORDS[state])));
}

function beginning(known, now, events) {
  if (known.length === 0) return "Nothing is known of its past yet.";
  const [{ from }] = known;
  if (from <= now - SPANS.at(-1).ms) return "The bars show the worst of their time.";
  if (inOrder(events)[0]?.reason === "Registered") return `It came onto the list on ${moment(from)}.`;
  return `What was before ${moment(from)} is not known${events.length < KEPT ? "" : `: k3 keeps the last ${KEPT} Events of a Node`}.`;
}

function historyRow({ label, spoken, ms, slices }, known, now) {
  const from = now - ms;
  const share = uptime(known, from, now);
  const spent = shares(known, from, now);
  const parts = ["notready", "unknown", "none"].filter((each) => spent[each] >= 1000).map((each) => `${WORDS[each]} for ${duration(spent[each])}`);
  const spokenText = share === null ? `The last ${spoken}: not known` : `The last ${spoken}: ready ${percent(share)} of the time that is known`;
  const total = ms - spent.none;
  const part = share !== null && total < 0.95 * ms ? make("span", { class: "quiet" }, ` of ${duration(total)}`) : null;
  const unknown = spent.unknown >= 60_000 ? make("small", {}, `${duration(spent.unknown)} unknown`) : null;
  const strip = bars(known, from, now, slices).map((state, index) => slice(state, from + (ms / slices) * index, ms / slices));
  return make(
    "div",
    { class: "history-row" },
    make("span", { class: "history-span", "aria-hidden": "true" }, label),
    make("div", { class: "history-bars", role: "img", "aria-label": [spokenText, ...parts].join(", ") }, ...strip),
    make("span", { class: "history-share", title: parts.join(", ") || null, "aria-hidden": "true" }, share === null ? "–" : percent(share), part, unknown),
  );
}

function slice(state, from, ms) {
  return make("span", { class: "slice", "data-state": state, title: `${moment(from)} – ${moment(from + ms)}: ${WORDS[state]}` });
}

/** A share as people read it, never rounded up to the whole: `99.98 %`. */
export function percent(share) {
  const cut = share > 0.999 ? Math.floor(share * 10_000) / 100 : Math.round(share * 1000) / 10;
  return `${cut} %`;
}

/** @param {Seen} seen */
export function addressList({ node }) {
  const found = Array.isArray(node.status?.addresses) ? node.status.addresses.filter((each) => typeof each?.address === "string") : [];
  if (found.length === 0) return null;
  const rows = found.slice(0, MOST).map(({ type, address }) => [printable(type, 60), withCopy(address, `the address ${printable(address, 60)}`)]);
  return [pairs(rows), more(found.length - MOST)];
}

/** What each source of k3 has recorded of the machine: one table for each that has anything. @param {Seen} seen */
export function evidence({ node, now }) {
  const notes = states.annotations(node);
  const owner = states.owner(node);
  const parts = PREFIXES.filter((prefix) => Object.keys(notes).some((key) => key.startsWith(prefix))).map((prefix) => {
    const name = prefix.slice("k3.".length, -1);
    const isOwner = owner?.prefix === prefix;
    const title = make("h4", {}, `k3 ${name}`, make("span", { class: "tag" }, isOwner ? "looks after it" : "left this behind"));
    return make("div", { class: "source" }, title, pairs(evidenceRows(node, notes, prefix, isOwner, now)));
  });
  if (owner === null) {
    const heartbeat = time(states.condition(node, "Ready")?.heartbeat);
    const rows = [["Last report", Number.isNaN(heartbeat) ? "it does not say" : seenAgo(heartbeat, now)]];
    const title = make("h4", {}, "A controller or a person", make("span", { class: "tag" }, "looks after it"));
    parts.unshift(make("div", { class: "source" }, title, pairs(rows), make("p", { class: "quiet" }, "k3 writes nothing into this Node.")));
  }
  return parts;
}

function evidenceRows(node, notes, prefix, isOwner, now) {
  const text = (key) => printable(notes[prefix + key] ?? "", TEXT);
  const last = time(notes[`${prefix}lastSeen`]);
  const known = new Set(["lastSeen", "seen-by", "seen-run", "port", "id", "links", "peer-ttl", "agent", "pid", "boot", "transitions", "clone", "clone-of"]);
  const doubted = DOUBTS[prefix].find(([type, status]) => states.condition(node, type)?.status === status);
  const why = doubted && (states.condition(node, doubted[0]).message || doubted[0]);
  const doubt = doubted ? make("strong", { class: "doubt" }, printable(why)) : "";
  const others = Object.keys(notes).filter((key) => key.startsWith(prefix) && !known.has(key.slice(prefix.length))).sort();
  return [
    ["Last seen", Number.isNaN(last) ? "never: it has not answered once" : seenAgo(last, now)],
    ["Seen by", text("seen-by")],
    ["Doubt", doubt],
    ["Asked at", isOwner && endpoint(node) ? withCopy(endpoint(node), "where it is asked") : text("port") && `port ${text("port")}`],
    ["Time to live", text("peer-ttl")],
    ["Its own agent", prefix === PREFIXES[0] && isOwner ? (text("agent") ? "writes to this store" : "does not write to this store") : ""],
    ["Networks", text("links").replaceAll(",", ", ")],
    ["Id", text("id") && withCopy(notes[`${prefix}id`], "the id")],
    ["Clone at", text("clone")],
    ["Copy of", text("clone-of")],
    ["Process", text("pid")],
    ["Run", text("boot")],
    ["Changes of state", text("transitions")],
    ...others.slice(0, MOST).map((key) => [printable(key.slice(prefix.length), 60), printable(notes[key], TEXT)]),
  ];
}

function seenAgo(at, now) {
  if (at - now > SKEW_MS) return make("span", {}, make("strong", { class: "doubt" }, `${duration(at - now)} in the future`), ": a clock is wrong");
  return ageOf(at);
}

/** @param {Seen} seen */
export function conditions({ node, words }) {
  const found = Array.isArray(node.status?.conditions) ? node.status.conditions.filter((each) => typeof each?.type === "string") : [];
  const types = [...new Set(found.map((each) => each.type))];
  if (types.length === 0) return make("p", { class: "quiet" }, "None.");
  const items = types.slice(0, MOST).map((type) => {
    const { status, reason, message, since } = states.condition(node, type);
    const means = wordOf(words?.reasons, reason, node)?.means ?? wordOf(words?.conditions, type, node)?.means;
    const at = time(since);
    return make(
      "li",
      { class: "condition" },
      make("div", {}, make("strong", {}, printable(type, 120)), " ", make("span", { class: "tag" }, printable(status || "–", 40)), " ", make("span", {}, printable(reason, 120)), " ", Number.isNaN(at) ? null : make("span", { class: "quiet" }, lasting(at))),
      message ? make("div", { class: "machine-text" }, printable(message)) : null,
      means ? make("div", { class: "quiet" }, means) : null,
    );
  });
  return [make("ul", { class: "plain" }, ...items), more(types.length - MOST)];
}

/** @param {Seen} seen */
export function eventList({ events, words, node }) {
  const found = inOrder(events).reverse();
  if (found.length === 0) return make("p", { class: "quiet" }, "None that the store still has.");
  const items = found.slice(0, EVENTS).map((event) => {
    const at = eventTime(event);
    const times = event.count > 1 ? ` (${event.count} times)` : "";
    return make(
      "li",
      { class: "event", "data-type": event.type === "Warning" ? "warning" : "normal" },
      make("div", { class: "event-head" }, make("strong", { title: wordOf(words?.reasons, event.reason, node)?.means ?? null }, printable(event.reason, 120)), times, make("span", { class: "quiet" }, Number.isNaN(at) ? "no time" : ageOf(at))),
      make("div", { class: "machine-text" }, printable(event.message)),
    );
  });
  return [make("ol", { class: "plain" }, ...items), more(found.length - EVENTS)];
}

/** @param {Seen} seen */
export function facts({ node }) {
  const info = mapping(node.status?.nodeInfo);
  const capacity = mapping(node.status?.capacity);
  const names = { osImage: "System", kernelVersion: "Kernel", operatingSystem: "OS", architecture: "Architecture", kubeletVersion: "Kubelet", containerRuntimeVersion: "Containers", machineID: "Machine id", systemUUID: "System UUID", bootID: "Boot id" };
  const rows = Object.entries(names).map(([key, title]) => [title, printable(info[key], TEXT)]);
  rows.push(...Object.entries(capacity).slice(0, MOST).map(([key, value]) => [printable(key, 120), printable(amount(value), 60)]));
  const made = states.createdAt(node);
  rows.push(["Node made", Number.isNaN(made) ? "" : ageOf(made)]);
  const taints = Array.isArray(node.spec?.taints) ? node.spec.taints.map(mapping) : [];
  rows.push(...taints.slice(0, MOST).map(({ key, value, effect }) => ["Taint", printable(`${key}${value ? `=${value}` : ""}:${effect}`, TEXT)]));
  return pairs(rows);
}

/** What Kubernetes writes as `16312384Ki`, as people read it; other amounts as they are. */
function amount(value) {
  const [, number, unit] = /^(\d+)(Ki|Mi)?$/.exec(String(value)) ?? [];
  const bytes = Number(number) * ({ Ki: 1024, Mi: 1024 ** 2 }[unit] ?? Number.NaN);
  if (!(bytes >= 1024 ** 3)) return value;
  return `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
}

/** Annotations of people and other programs; k3's own are shown as evidence. @param {Seen} seen */
export function annotationList({ node }, but) {
  const found = Object.entries(states.annotations(node)).filter(([key]) => key !== but && !PREFIXES.some((prefix) => key.startsWith(prefix)));
  if (found.length === 0) return null;
  const rows = found.sort().slice(0, MOST).map(([key, value]) => [printable(key, 320), printable(value, TEXT)]);
  return [pairs(rows), more(found.length - MOST)];
}

/** Commands that a person takes along. Of odd names and addresses there are none: a command must not do what it does not say. */
export function commands(node) {
  const name = states.nameOf(node);
  const isName = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name);
  const address = [...states.addresses(node, "InternalIP"), ...states.addresses(node, "ExternalIP")].find((each) => /^[0-9a-f.:]+$/i.test(each));
  const host = address ?? (isName ? name : "");
  const found = [];
  if (host) found.push({ label: "Copy ssh", text: `ssh ${host}` });
  if (isName) found.push({ label: "Copy kubectl", text: `kubectl describe node ${name}` });
  return found;
}

/** A text with a button that copies it. `what`: for whom cannot see. */
export function withCopy(text, what) {
  return make("span", { class: "with-copy" }, make("span", { class: "machine-text" }, printable(text, TEXT)), copyButton(text, what));
}

export function copyButton(text, what) {
  return make("button", { type: "button", class: "copy-icon", "data-copy": text, "aria-label": `Copy ${what}`, title: `Copy ${what}` }, make("span", { "aria-hidden": "true" }));
}

/** How long ago, kept current by `tick`; the moment itself is its title. */
export function ageOf(at) {
  return make("time", { datetime: new Date(at).toISOString(), "data-at": at, title: new Date(at).toLocaleString("en-GB") });
}

/** For how long something has been so; as `ageOf`. */
export function lasting(at) {
  const made = ageOf(at);
  made.dataset.lasting = "";
  return made;
}

/** Writes the ages below an element as they are now. */
export function tick(root, now) {
  for (const each of root.querySelectorAll("time[data-at]")) {
    const age = duration(now - Number(each.dataset.at));
    const text = "lasting" in each.dataset ? `for ${age}` : `${age} ago`;
    if (each.textContent !== text) each.textContent = text;
  }
}

function pairs(rows) {
  const shown = rows.filter(([, value]) => value !== "" && value !== undefined && value !== null);
  if (shown.length === 0) return null;
  return make("dl", { class: "pairs" }, ...shown.flatMap(([key, value]) => [make("dt", {}, key), make("dd", {}, value)]));
}

function more(left) {
  return left > 0 ? make("p", { class: "quiet" }, `and ${count(left, "other", "others")}`) : null;
}
