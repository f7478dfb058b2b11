/**
 * What a Node says of itself, as a reader finds it. Pure: the same rules as `k3.view.node_table` and `k3.core.ownership`, which
 * a test holds together. Reading never fails: an odd field reads as absent.
 */

import { SOURCES, UNREADABLE } from "/page/facts.js";
import { time } from "/page/text.js";

const NETWORK = "k3.network/";
const SKEW_MS = 5_000;

const mapping = (value) => (value !== null && typeof value === "object" && !Array.isArray(value) ? value : {});
const text = (value) => (typeof value === "string" ? value : "");
const entries = (value) => (Array.isArray(value) ? value.filter((each) => each && typeof each === "object" && !Array.isArray(each)) : []);

export const labels = (node) => mapping(mapping(node.metadata).labels);
export const annotations = (node) => mapping(mapping(node.metadata).annotations);
export const nameOf = (node) => text(mapping(node.metadata).name);

/** Returns the last condition of a type, which is the one that kubectl shows, its texts only; null: there is none. */
export function condition(node, type) {
  const found = entries(mapping(node.status).conditions).findLast((each) => each.type === type);
  if (found === undefined) return null;
  const { status, reason, message, lastTransitionTime, lastHeartbeatTime } = found;
  return {
    status: text(status),
    reason: text(reason),
    message: text(message),
    since: text(lastTransitionTime),
    heartbeat: text(lastHeartbeatTime),
  };
}

const labelled = (node) => SOURCES.find((source) => labels(node)[source.label] === "true") ?? null;

/** Returns the source of k3 that manages a Node now (a row of `SOURCES`); null: a controller or a person does. */
export function owner(node, ready = condition(node, "Ready")) {
  const source = labelled(node);
  if (source === null || text(mapping(mapping(node.status).nodeInfo).kubeletVersion)) return null;
  return ready === null || source.reasons.includes(ready.reason) ? source : null;
}

/** Returns how long a Node may stay without being refreshed until no agent is known to look after it, in milliseconds. */
export function unobservedMs(node, source) {
  if (source === null) return Infinity;
  const said = seconds(annotations(node)[`${source.prefix}peer-ttl`]);
  return 2000 * (said || source.refreshSeconds);
}

/** Returns the seconds of a length of time as k3 writes it (`90s`, `1m30s`); 0: it cannot be read. */
export function seconds(value) {
  if (typeof value !== "string" || !/^(\d+(\.\d+)?(h|ms|m|s))+$/.test(value)) return 0;
  const sizes = { h: 3600, m: 60, s: 1, ms: 0.001 };
  return [...value.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)].reduce((sum, [, number, unit]) => sum + Number(number) * sizes[unit], 0);
}

/** Returns when an observer last knew the machine alive, in milliseconds; of a controller's Node, when Ready was last reported. */
export function lastSeen(node, source, ready = condition(node, "Ready")) {
  return time(source === null ? ready?.heartbeat : annotations(node)[`${source.prefix}lastSeen`]);
}

/** Returns until when the time stamp of a Node that is called Ready is believed, in milliseconds. */
export const believedUntil = (node, source, seen) => (Number.isNaN(seen) ? -Infinity : seen + unobservedMs(node, source));

/** Whether a time stamp lies in the future. */
export const isAhead = (seen, now) => seen - now > SKEW_MS;

/**
 * Returns the state of a Node: `kind` is what it is counted as, `word` and `remark` are those of `k3 nodes`, `label` is the
 * page's own word. `isObserved`: whether an agent looks after it.
 */
export function state(node, isObserved, ready = condition(node, "Ready"), source = owner(node, ready)) {
  const isCordoned = mapping(node.spec).unschedulable === true;
  const isReady = ready?.status === "True";
  const isLost = isReady && !isObserved;
  const word = (ready === null || isLost ? "Unknown" : isReady ? "Ready" : "NotReady") + (isCordoned ? ",SchedulingDisabled" : "");
  const made = (kind, label, by, remark = "") => ({
    kind, label, word, remark, isCordoned,
    reason: by.reason, message: by.message, since: by.since,
  });
  if (ready === null) return made("unknown", "Unknown", { reason: "NoCondition", message: "the Node has no Ready condition", since: "" });
  if (isUnreadable(source, ready)) return { ...made("unknown", "Unreadable", ready), word: UNREADABLE };
  if (isLost) {
    const seen = text(annotations(node)[`${labelled(node)?.prefix ?? NETWORK}lastSeen`]);
    return made("unknown", "Unknown", { reason: "NoObserver", message: `no agent has refreshed this Node since ${seen}`, since: seen }, "no observer");
  }
  const reachable = condition(node, `${NETWORK}Reachable`);
  if (isReady && reachable?.status === "False") return made("suspect", "Not answering", reachable, "not answering");
  const cloned = condition(node, `${NETWORK}Cloned`);
  if (isReady && cloned !== null) return made("suspect", "A clone", cloned, "a clone");
  if (isReady) return made("ready", "Ready", ready);
  return made(ready.status === "Unknown" ? "unknown" : "notready", ready.status === "Unknown" ? "Unknown" : "Not ready", ready);
}

/** Whether a Node stands for an object of the store that cannot be read. */
export const isUnreadable = (source, ready) => source === null && ready?.reason === UNREADABLE;

/** Returns the addresses of a Node of one type, such as `InternalIP`. */
export function addresses(node, type) {
  const found = entries(mapping(node.status).addresses).filter((each) => each.type === type);
  return found.map((each) => text(each.address)).filter(Boolean);
}

export const zoneOf = (node) => text(labels(node)["topology.kubernetes.io/zone"]);
export const createdAt = (node) => time(mapping(node.metadata).creationTimestamp);
