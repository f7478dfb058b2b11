/** What is above and below the table: the count, how the connection stands, the groups to choose from, what to do next, and light or dark. */

import { KIND_WORDS, KINDS, LABEL, labelOf } from "/page/choice.js";
import { copyable } from "/page/dialogs.js";
import { watchFor } from "/page/doctor.js";
import { byId, make, mark, write } from "/page/dom.js";
import { clock, count, printable } from "/page/text.js";

const UNAUTHORIZED = 401;
const THEME = "k3-theme";
/** As whom a Kubernetes API knows those who do not say who they are. */
const ANONYMOUS = "system:anonymous";
/** By what else than a label. */
const GROUPS = { "": "No groups", zone: "By zone", source: "By source", state: "By state" };

/** Shows light or dark as the person has chosen it before; else the system says it. */
export function showTheme() {
  const theme = localStorage.getItem(THEME);
  if (theme) document.documentElement.dataset.theme = theme;
}

/** Shows dark in place of light, or light in place of dark, from now on. */
export function switchTheme() {
  const root = document.documentElement;
  const former = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = former === "dark" ? "light" : "dark";
  localStorage.setItem(THEME, root.dataset.theme);
}

/** Makes a button for each state, which shows the machines in it alone. */
export function makeParts(onchoose) {
  byId("parts").append(
    ...KINDS.map((kind) =>
      make(
        "button",
        { type: "button", class: "chip part", "data-kind": kind, "aria-pressed": "false", hidden: true, onclick: () => onchoose(kind) },
        make("span", { class: "shape", "aria-hidden": "true" }),
        make("span", { class: "word" }),
      ),
    ),
  );
}

/** Shows how many there are of each state. `total` are there, though not all may have come yet; `kind` is the state that is chosen. */
export function showCounts(counts, { total, kind, isAsking, isDenied, when }) {
  const { ready } = counts;
  write(byId("count"), headline(counts, { total, isAsking, isDenied, when }));
  for (const button of byId("parts").children) {
    const each = button.dataset.kind;
    button.hidden = each !== kind && !counts[each];
    write(button.lastChild, `${counts[each].toLocaleString("en")} ${KIND_WORDS[each]}`);
    mark(button, "aria-pressed", each === kind);
  }
  const troubled = counts.notready + counts.unknown;
  const title = counts.all ? `${troubled ? `(${troubled}) ` : ""}${ready} of ${total} ready · k3` : "k3: machines";
  if (document.title !== title) document.title = title;
}

/** Returns the one line that says it all, as far as it is known. */
function headline(counts, { total, isAsking, isDenied, when }) {
  if (isDenied) return "Not shown to you";
  if (isAsking) return "Asking the server…";
  if (!total) return "No machines yet";
  const all = count(total, "machine", "machines");
  if (counts.all < total) return `Reading ${all}…`;
  return `${counts.ready.toLocaleString("en")} of ${all} ${when ? "were ready" : "ready"}`;
}

/** Says why the server shows nothing to whom it knows by `token`, or without one. */
export function denial({ message, code }, token) {
  if (!token && (code === UNAUTHORIZED || message.includes(ANONYMOUS))) return "The server shows the machines to those who have a token.";
  if (code === UNAUTHORIZED) return "The server does not take this token: it may be mistyped, out of date or revoked.";
  return `The server does not show the machines: ${printable(message, 300)}`;
}

/** Shows how the connection stands; `denial`: why nothing is shown; `isEmpty`: there is nothing of before, either. */
export function showStanding({ kind, since, message, denial, isEmpty }, { onagain, ontoken }) {
  const bar = byId("bar");
  document.body.dataset.standing = kind;
  bar.hidden = kind === "live" || kind === "starting";
  if (bar.hidden) {
    bar.replaceChildren();
    return;
  }
  const at = make("time", { datetime: new Date(since).toISOString() }, clock(since));
  const words = {
    lost: ["Not connected since ", at, " — what you see is from then. The machines may be well."],
    store: ["The server has not been able to read its store since ", at, ` — what you see is from then. ${printable(message.trim(), 200)}`],
    refused: ["The server has refused to show more since ", at, ` — what you see is from then. ${printable(message, 200)}`],
    denied: [denial, ...(isEmpty ? [] : [" What you see is what was there at ", at, "."])],
  }[kind];
  const isDenied = kind === "denied";
  const button = make("button", { type: "button", onclick: isDenied ? ontoken : onagain }, isDenied ? "Give a token" : "Try now");
  bar.replaceChildren(make("span", {}, ...words), button);
}

/** Shows by what the machines may be grouped: `chosen`, and labels by their `labelKeys`. */
export function showGroups(labelKeys, chosen) {
  const select = byId("group");
  if (document.activeElement === select) return;
  const keys = [...labelKeys];
  const key = labelOf(chosen);
  if (key && !keys.includes(key)) keys.push(key);
  const shape = [chosen, ...keys].join("\n");
  if (shape === select.shape) return;
  select.shape = shape;
  const option = (value, title) => make("option", { value }, title);
  const labels = make("optgroup", { label: "By label" }, ...keys.map((each) => option(LABEL + each, printable(each, 80))));
  select.replaceChildren(...Object.entries(GROUPS).map(([value, title]) => option(value, title)), ...(keys.length ? [labels] : []));
  select.value = chosen;
}

/** Whether Machines can be grouped so. */
export const isGroup = (group) => Object.hasOwn(GROUPS, group) || labelOf(group) !== "";

/** Says that there are machines, and that none of them fits what is searched and chosen. */
export function showNone(isNone, onall) {
  const none = byId("none");
  if (none.hidden === !isNone) return;
  none.hidden = !isNone;
  none.replaceChildren(...(isNone ? [make("span", {}, "No machine fits what is searched and chosen."), make("button", { type: "button", onclick: onall }, "Show all")] : []));
}

/** Says what a newcomer does next, who has one machine, or none; `machines` is null where that is not known. */
export function showNext(machines, api) {
  const next = byId("next");
  const shape = machines === null || machines > 1 ? "" : String(machines);
  if (next.shape === shape) return;
  next.shape = shape;
  next.hidden = !shape;
  document.body.dataset.machines = shape || "many";
  if (!shape) return;
  const found = make("div", { "aria-live": "polite" }, make("p", {}, "When nobody comes, this says what is in the way:"), copyable("k3 doctor"));
  next.replaceChildren(
    make("h2", {}, machines ? "Add a second machine" : "Add the first machine"),
    make("p", {}, "Run this on it. In the same network it shows up here within a second, without a name or an address to be given."),
    copyable("k3 up"),
    found,
  );
  watchFor(api, found);
}
