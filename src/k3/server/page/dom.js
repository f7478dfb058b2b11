/** Elements. Texts are always text: nothing in the page is ever parsed as markup (ADR 56). */

/**
 * Returns a new element. `attributes`: those with a value of `true` are set empty, those with `false` or `null` left out;
 * a function is a listener, by the name of its event (`onclick`). Children are elements and texts.
 */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((each) => each !== null && each !== undefined && each !== ""));
  return made;
}

/** Writes a text into an element, if it is not there already. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets an attribute, if it is not so already; `null` takes it away. */
export function mark(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Returns the element of an id. */
export const byId = (id) => document.getElementById(id);
