// What a person may do to a Node from the page, as calls of the Kubernetes API. Whether it is allowed, the server decides.
//
// Nodes change every few seconds without anybody's doing, so a change is tied to the revision that the person saw, and
// tried again on a newer one as long as the thing to be changed still is as they saw it.

import { annotations, labels, nameOf } from "/page/states.js";

/** Where a note is kept: the annotation that Kubernetes itself has for a description of any object (ADR 62). */
export const NOTE = "kubernetes.io/description";
const MERGE = "application/merge-patch+json";
const TRIES = 8;

/** @typedef {{get: Function, patch: Function, remove: Function, may: Function}} Api */

const pathOf = (node) => `/api/v1/nodes/${encodeURIComponent(nameOf(node))}`;

/**
 * Sets a label, or removes it (null).
 * @param {Api} api @param {any} node as the person saw it @param {string} key @param {string|null} value
 */
export function setLabel(api, node, key, value) {
  return setText(api, node, "labels", labels, key, value);
}

/** Sets the note of a Node; an empty one is removed. */
export function setNote(api, node, text) {
  return setText(api, node, "annotations", annotations, NOTE, text.trim() === "" ? null : text);
}

/** Keeps new work off a machine, or allows it again, as `kubectl cordon` and `kubectl uncordon` do. */
export function setCordon(api, node, isCordoned) {
  return api.patch(pathOf(node), { spec: { unschedulable: isCordoned ? true : null } }, MERGE);
}

/** Deletes the Node that the person saw, and no other of its name. */
export function remove(api, node) {
  return api.remove(pathOf(node), { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid: node.metadata.uid } });
}

async function setText(api, node, field, read, key, value) {
  const seen = own(read(node), key);
  let current = node;
  for (let tries = 0; ; tries++) {
    const { uid, resourceVersion } = current.metadata;
    try {
      return await api.patch(pathOf(node), { metadata: { uid, resourceVersion, [field]: { [key]: value } } }, MERGE);
    } catch (refusal) {
      if (refusal?.code !== 409 || tries === TRIES) throw refusal;
    }
    current = await api.get(pathOf(node));
    if (current.metadata.uid !== node.metadata.uid) throw new Error(`${nameOf(node)} was deleted and made anew meanwhile.`);
    const found = own(read(current), key);
    if (found === value) return current;
    if (found !== seen) throw new Error(`Somebody else has just changed ${key}${found === null ? "" : ` to ${JSON.stringify(found)}`}.`);
  }
}

/** The value of a key, null where there is none. */
const own = (texts, key) => (Object.hasOwn(texts, key) ? texts[key] : null);
