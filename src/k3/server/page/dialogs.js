/** What is asked and told in a dialog: the token, and the keys. Native `dialog` elements keep the focus and close on Esc. */

import { byId, make } from "/page/dom.js";

const KEYS = [
  ["/", "search"],
  ["l", "select by labels"],
  ["j  k  ↓  ↑", "next and previous machine"],
  ["Home  End  Page", "farther"],
  ["Enter", "details of the machine"],
  ["Esc", "close the details; clear the search"],
  ["t", "light or dark"],
  ["?", "this list"],
];

/** Says which keys there are. */
export function showKeys() {
  const list = make("dl", { class: "keys" });
  for (const [keys, what] of KEYS) {
    const shown = keys.split("  ").flatMap((key) => [make("kbd", {}, key), " "]);
    list.append(make("div", {}, make("dt", {}, ...shown), make("dd", {}, what)));
  }
  const selectors = make("p", { class: "quiet" }, "Labels take what kubectl -l takes: ", make("code", {}, "zone=a,gpu,role in (web,db),!old"));
  const close = make("button", { type: "button", class: "primary", onclick: () => byId("dialog").close() }, "Close");
  open("Keys", list, selectors, make("div", { class: "actions" }, close));
}

/** Asks for a token; `why` is what the server said. Returns it; empty: the dialog was closed without one. */
export function askForToken(why) {
  return new Promise((resolve) => {
    const input = make("input", { type: "password", autocomplete: "off", spellcheck: "false", id: "token", required: true });
    const form = make(
      "form",
      { method: "dialog" },
      make("label", { for: "token" }, "Token"),
      input,
      make("p", { class: "quiet" }, "It is kept by this tab until it is closed, and sent to this server only."),
      make("div", { class: "actions" }, make("button", { type: "submit", class: "primary" }, "Show the machines")),
    );
    const command = make("p", {}, "On the machine that runs the server, this makes one that may read everything and change nothing:");
    const dialog = open("This server wants a token", make("p", { class: "quiet" }, why), command, copyable("k3 token create --role view"), form);
    dialog.addEventListener("close", () => resolve(input.value.trim()), { once: true });
    input.focus();
  });
}

/** Returns a command with a button that copies it. */
export function copyable(command) {
  const button = make("button", { type: "button", class: "copy", "aria-label": `Copy: ${command}` }, "Copy");
  button.addEventListener("click", async () => {
    const isCopied = await copy(command);
    button.textContent = isCopied ? "Copied" : "Select it";
    setTimeout(() => (button.textContent = "Copy"), 1_500);
  });
  return make("div", { class: "command" }, make("code", {}, command), button);
}

/** Copies a text; returns whether that was allowed. Over plain HTTP off loopback it is not. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function open(title, ...content) {
  const dialog = byId("dialog");
  dialog.replaceChildren(make("h2", { id: "dialog-title" }, title), ...content);
  if (!dialog.open) dialog.showModal();
  return dialog;
}
