/** What `k3 doctor` found on the server's machine: shown to who has one machine, when no second one comes. */

import { make } from "/page/dom.js";
import { copyable } from "/page/dialogs.js";
import { printable } from "/page/text.js";

const FIRST_LOOK_MS = 20_000;
const NEXT_LOOK_MS = 60_000;

/** Looks after a while, and again while `root` is on the page and says nothing else; shows in it what was found. */
export function watchFor(api, root) {
  setTimeout(async () => {
    if (!root.isConnected) return;
    const found = await api.examine().catch(() => undefined);
    if (found === null) return; // there is nothing to ask, or no right to
    if (found && root.isConnected) root.replaceChildren(...shown(found));
    setTimeout(() => root.isConnected && watchFor(api, root), NEXT_LOOK_MS - FIRST_LOOK_MS);
  }, FIRST_LOOK_MS);
}

function shown({ healthy, findings }) {
  const title = healthy ? "k3 doctor finds nothing wrong on this machine" : "k3 doctor found on this machine";
  const wrong = findings.filter((each) => each.severity !== "ok" && (each.severity !== "note" || each.subject === "multicast"));
  return [make("h3", {}, title), ...wrong.map(finding)];
}

function finding({ severity, what, why = "", do: advice = "", commands = [] }) {
  const texts = [why, advice].filter(Boolean).map((text) => make("p", { class: "quiet" }, printable(text, 1_000)));
  const head = make("p", { class: `finding ${severity}` }, printable(what, 1_000));
  return make("div", { class: "found" }, head, ...texts, ...commands.map((command) => copyable(command)));
}
