/** The Kubernetes API, asked as any client asks it. A refusal is an error with its code; 0: the server cannot be reached. */

const REQUEST_MS = 30_000;
const RETRY_MS = [300, 600, 1_000, 2_000, 4_000];
const JSON_TYPE = "application/json";
/** Rows of the server's table, which say what no object says: whether an agent looks after a Node. */
export const TABLE_TYPE = "application/json;as=Table;v=v1;g=meta.k8s.io";
export const MERGE_PATCH = "application/merge-patch+json";
const REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

export class Refusal extends Error {
  constructor(code, message, reason = "") {
    super(message);
    this.name = "Refusal";
    this.code = code;
    this.reason = reason;
  }
}

export class Api {
  /** `token`: a bearer token; empty: the server knows by the connection who asks, or asks for one. */
  constructor(token = "") {
    this.token = token;
    /** How far the server's clock is ahead of this one, in milliseconds, within a second. */
    this.aheadMs = 0;
  }

  /** Returns a list, or one page of it: `query` may have `limit` and `continue`. */
  async list(path, query = {}, { accept = JSON_TYPE, signal = null } = {}) {
    return json(await this.#ask("GET", withQuery(path, query), { accept, signal }));
  }

  /** Returns one object. */
  async get(path, { accept = JSON_TYPE, signal = null } = {}) {
    return json(await this.#ask("GET", path, { accept, signal }));
  }

  /** Returns the object as it is after a patch. */
  async patch(path, body, contentType = MERGE_PATCH) {
    return json(await this.#ask("PATCH", path, { body, contentType }));
  }

  /** Deletes one object; `body`: DeleteOptions. */
  async remove(path, body = null) {
    return json(await this.#ask("DELETE", path, { body }));
  }

  /** Whether the server allows this; `resource` is a resource, or one with a subresource: `nodes/status`; no `name`: of all. */
  async may(verb, resource, name = "") {
    const [plural, subresource = ""] = resource.split("/");
    const spec = { resourceAttributes: { verb, resource: plural, subresource, name } };
    const review = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec };
    const found = await json(await this.#ask("POST", REVIEWS, { body: review }));
    return found.status?.allowed === true;
  }

  /** Gives the events of a watch until it ends, each as (type, object). An ERROR event is thrown as a Refusal. */
  async watch(path, query, onevent, signal, { accept = JSON_TYPE } = {}) {
    const answer = await this.#ask("GET", withQuery(path, { ...query, watch: "true" }), { accept, signal, isLong: true });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read().catch(lost);
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (!line) continue;
        const { type, object } = parsed(line);
        if (type === "ERROR") throw new Refusal(object.code ?? 500, object.message ?? "", object.reason);
        onevent(type, object);
      }
    }
  }

  /** Looks at the server's machine as `k3 doctor` does; null: this server cannot, or the token may not. */
  async examine() {
    const answer = await this.#ask("POST", "/doctor").catch((error) => (error.code ? null : lost(error)));
    return answer && json(answer);
  }

  /** Returns the words of the server about itself: whether it is there and can read its store. Takes at most so long. */
  async ready(milliseconds) {
    const signal = AbortSignal.timeout(milliseconds);
    const answer = await fetch("/readyz", { signal, cache: "no-store", credentials: "omit" }).catch(lost);
    this.#keepTime(answer);
    return { isReady: answer.ok, text: await answer.text().catch(lost) };
  }

  async #ask(method, path, { accept = JSON_TYPE, body = null, contentType = JSON_TYPE, signal = null, isLong = false } = {}) {
    const headers = { Accept: accept };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    if (body !== null) headers["Content-Type"] = contentType;
    const limits = [signal, isLong ? null : AbortSignal.timeout(REQUEST_MS)].filter(Boolean);
    const wanted = { method, headers, cache: "no-store", signal: AbortSignal.any(limits) };
    if (body !== null) wanted.body = JSON.stringify(body);
    const answer = await fetch(path, wanted).catch(lost);
    this.#keepTime(answer);
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }

  #keepTime(answer) {
    const said = Date.parse(answer.headers.get("Date") ?? "");
    if (!Number.isNaN(said)) this.aheadMs = said + 500 - Date.now();
  }
}

/** Returns how long to wait after so many failures, not the same for everybody: all clients lose and find a server at once. */
export const retryMs = (failures) => RETRY_MS[Math.min(failures, RETRY_MS.length) - 1] * (0.75 + Math.random() / 2);

/** Returns the path of an object of the core group, `namespace` for those that have one. */
export function pathOf(plural, name, namespace = "") {
  const where = namespace ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `/api/v1${where}/${plural}/${encodeURIComponent(name)}`;
}

function withQuery(path, query) {
  const said = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return said.size ? `${path}?${said}` : path;
}

/** Returns the JSON of an answer. One that breaks off, or is no JSON since something in between gave it, is none of the server's. */
function json(answer) {
  return answer.json().catch(lost);
}

function parsed(line) {
  try {
    return JSON.parse(line);
  } catch (error) {
    return lost(error);
  }
}

function lost(error) {
  throw new Refusal(0, error.name === "AbortError" ? "stopped" : "the server does not answer");
}

async function refusal(answer) {
  const status = await answer.json().catch(() => ({}));
  return new Refusal(answer.status, status.message ?? answer.statusText, status.reason ?? "");
}
