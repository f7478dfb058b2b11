// Which of the server's words fits a Node, with what the Node says put into it: the rules of `k3.view.words`.

import { SOURCES } from "/page/facts.js";
import { addresses, annotations, nameOf, owner } from "/page/states.js";

/** @typedef {{means: string, do: string, command?: string, onMachine?: boolean}} Word */

const CORDONED = /,SchedulingDisabled/;
const PLACES = /ADDRESS:PORT|\b(?:NAME|PORT|SOURCE|CONSUL_NODE)\b/g;
const AGENT_LOST = "the Consul agent of this machine does not answer";
const ANOTHER = / answers (?:under another identity|as \S+) now$/;

/**
 * What the state of a Node means and what to do; undefined where the server has no word for it.
 * @param {any} words @param {any} node @param {any} state as `states.state` has it
 * @returns {Word|undefined}
 */
export function meaning(words, node, state) {
  const [states, reasons, situations] = [words?.states ?? {}, words?.reasons ?? {}, words?.situations ?? {}];
  const word = state.word.replace(CORDONED, "");
  const byState = pick(states, state.remark ? `${word} (${state.remark})` : word);
  const byReason = pick(reasons, state.reason);
  const found = pick(situations, situation(node, state, byReason)) ?? (state.remark && state.remark !== "not answering" ? byState : byReason) ?? byState;
  return found && fitted(found, node);
}

/** The word for a reason or condition, fitted to a Node. */
export function wordOf(table, key, node) {
  const found = pick(table ?? {}, key);
  return found && fitted(found, node);
}

function situation(node, state, byReason) {
  if (state.kind === "ready" || state.word.startsWith("Unreadable")) return "";
  const source = owner(node);
  const isOwn = state.reason === "NoCondition" || SOURCES.some((each) => each.reasons.includes(state.reason));
  if (source === null) return byReason && !isOwn ? "" : "Foreign";
  const notes = annotations(node);
  if (state.message.startsWith("renamed: ")) return "Renamed";
  if (ANOTHER.test(state.message)) return "AnotherAnswers";
  const isUnproven = !notes[`${source.prefix}lastSeen`] && Boolean(notes[`${source.prefix}seen-by`]);
  if (isUnproven && state.reason === "PeerUnreachable") return "NeverAnswered";
  return state.reason === "SourceUnreachable" && state.message === AGENT_LOST ? "ConsulAgentLost" : "";
}

function fitted(word, node) {
  const source = owner(node);
  const notes = annotations(node);
  const known = {
    NAME: quoted(nameOf(node)),
    SOURCE: source?.name ?? "network",
    PORT: portOf(node),
    "ADDRESS:PORT": endpoint(node) && quoted(endpoint(node)),
    CONSUL_NODE: encodeURIComponent(notes["k3.discovery/consul-node"] ?? "").replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`),
  };
  const put = (text) => (text ?? "").replace(PLACES, (place) => known[place] || place);
  return { ...word, means: put(word.means), do: put(word.do), command: put(word.command) };
}

/** The port on which the machine is asked; empty where it is not known. */
export function portOf(node) {
  const port = String(annotations(node)[`${owner(node)?.prefix ?? "k3.network/"}port`] ?? "");
  return /^[0-9]{1,5}$/.test(port) ? port : "";
}

/** Where the machine is asked: `10.0.0.7:7946`, `[fd00::7]:7946`; empty where that is not known. */
export function endpoint(node) {
  const [address] = addresses(node, "InternalIP");
  const port = portOf(node);
  if (!address || !port || !/^[0-9a-fA-F.:]+$/.test(address)) return "";
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** A text as one word of a shell's command line. */
export function quoted(text) {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) && !text.startsWith("-") ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

const pick = (table, key) => (key && Object.hasOwn(table, key) ? table[key] : undefined);
