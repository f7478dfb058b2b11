// Prints what JSON has as YAML that every reader of YAML 1.1 and 1.2 reads back the same.

/** Words that YAML 1.1 reads as a truth value or as nothing. */
const WORDS = new Set(["y", "n", "yes", "no", "on", "off", "true", "false", "null"]);
const PLAIN = /^[A-Za-z/_](?:[A-Za-z0-9/_.+-]|:(?=[A-Za-z0-9/_])| (?=[A-Za-z0-9/_(]))*$/;
/** What is not plainly visible, or no YAML may hold as it is. */
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}\u00a0]/u;
const EACH_HIDDEN = /[\p{C}\p{Zl}\p{Zp}\u00a0]/gu;
const DEPTH = 200;

/**
 * @param {unknown} value what JSON can hold
 * @returns {string} a whole document
 */
export function yaml(value) {
  const lines = isBranch(value) ? branch(value, "", 0) : [scalar(value, "")];
  return `${lines.join("\n")}\n`;
}

/** @returns {string[]} the lines of a list or mapping that is not empty */
function branch(value, indent, depth) {
  if (depth > DEPTH) return [`${indent}${JSON.stringify(value)}`];
  if (Array.isArray(value)) return value.flatMap((each) => item(each, indent, depth));
  return Object.entries(value).flatMap(([key, each]) => pair(key, each, indent, depth));
}

function pair(key, value, indent, depth) {
  const head = `${indent}${word(key)}:`;
  if (!isBranch(value)) return [`${head} ${scalar(value, indent)}`];
  // a list stands as far to the left as its key, as Kubernetes has it
  return [head, ...branch(value, Array.isArray(value) ? indent : `${indent}  `, depth + 1)];
}

function item(value, indent, depth) {
  if (!isBranch(value)) return [`${indent}- ${scalar(value, indent)}`];
  const [first, ...rest] = branch(value, `${indent}  `, depth + 1);
  return [`${indent}- ${first.slice(indent.length + 2)}`, ...rest];
}

function isBranch(value) {
  return typeof value === "object" && value !== null && Object.keys(value).length > 0;
}

function scalar(value, indent) {
  if (typeof value === "string") return isBlock(value) ? block(value, indent) : word(value);
  if (typeof value === "number") return number(value);
  if (value === null || value === undefined) return "null";
  if (typeof value === "object") return Array.isArray(value) ? "[]" : "{}";
  return String(value);
}

function number(value) {
  const text = String(value);
  if (!Number.isFinite(value)) return Number.isNaN(value) ? ".nan" : value > 0 ? ".inf" : "-.inf";
  return /^-?\d+e/.test(text) ? text.replace("e", ".0e") : text; // YAML 1.1 reads 1e+21 as text
}

function word(text) {
  if (PLAIN.test(text) && !WORDS.has(text.toLowerCase())) return text;
  return JSON.stringify(text).replace(EACH_HIDDEN, escaped);
}

function escaped(char) {
  const code = char.codePointAt(0);
  return code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

/** Whether a text of several lines can stand as it is. */
function isBlock(text) {
  return text.includes("\n") && /^[^\s]/.test(text) && !HIDDEN.test(text.replaceAll("\n", ""));
}

function block(text, indent) {
  const mark = !text.endsWith("\n") ? "|-" : text.endsWith("\n\n") ? "|+" : "|";
  const lines = (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
  return [mark, ...lines.map((line) => (line ? `${indent}  ${line}` : ""))].join("\n");
}
