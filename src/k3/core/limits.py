"""Every bound in one place. Text from outside is held to these before anything else looks at it. Pure."""

from typing import Final

# Kubernetes objects (names: RFC 1123 §2.1 as Kubernetes applies it; the rest is Kubernetes' own validation).
NAME_BYTES: Final = 253
LABEL_VALUE_BYTES: Final = 63
OBJECT_BYTES: Final = 1024 * 1024
DOCUMENT_DEPTH: Final = 100
LIST_PAGE: Final = 500
UID_CHARACTERS: Final = 128

# A store's history: at least this much is kept before compaction may take it.
HISTORY_SECONDS: Final = 300
HISTORY_REVISIONS: Final = 10_000
COMPACT_CHUNK: Final = 1_000

# Watches: a subscriber that lags further than this is cut off with Expired.
WATCH_BUFFER: Final = 4_096
WATCHERS: Final = 10_000
# Changes that are written to a watcher at once; more are read by its own task, which waits for a slow client.
WATCH_AT_ONCE: Final = 16

# A TCP or UDP port (RFC 9293 §3.1, RFC 768).
PORT: Final = 65_535

# A process id (proc(5): at most 2^22 on Linux; other systems' fit into 31 bits).
PID: Final = 2**31 - 1

# Waiting on the outside, in seconds.
STORE_TIMEOUT_SECONDS: Final = 5.0
SHUTDOWN_SECONDS: Final = 3.0

# mDNS (RFC 6762 is link-local and unauthenticated: everything is bounded).
INSTANCE_BYTES: Final = 63
TXT_BYTES: Final = 1_300
TXT_VALUE_BYTES: Final = 253
ANNOUNCED_NAME_BYTES: Final = 255 - len("node=")  # key and value share one string of the text record (RFC 6763 §6.1)
PEER_ADDRESSES: Final = 8
NAMESAKES: Final = 256
PEERS: Final = 4_096
PEERS_PER_ADDRESS: Final = 16
CANDIDATES: Final = 2_048
CANDIDATES_PER_ORIGIN: Final = 64
CANDIDATES_PER_NAME: Final = 16
CANDIDATES_AT_ONCE: Final = 16
ORIGINS: Final = 1_024
ANNOUNCEMENTS_PER_ORIGIN: Final = 256
ANNOUNCEMENTS_PER_NODE: Final = 8
UNPROVEN_NODES: Final = 32
RESOLVES_AT_ONCE: Final = 16
PACKETS_AT_ONCE: Final = 1_000
PACKETS_PER_SECOND: Final = 50
PACKETS_AT_ONCE_PER_ORIGIN: Final = 512
PACKETS_PER_SECOND_PER_ORIGIN: Final = 20
PROBES_AT_ONCE: Final = 64
LINKS: Final = 32

# Patches and managed fields, as kube-apiserver bounds them (`JSONPatchMaxCopyBytes`, `maxJSONPatchOperations`,
# `DefaultMaxUpdateManagers`, `FieldManagerMaxLength`, `TotalAnnotationSizeLimitB`).
JSON_PATCH_OPERATIONS: Final = 10_000
JSON_PATCH_COPIED_BYTES: Final = 3 * 1024 * 1024
UPDATE_MANAGERS: Final = 10
MANAGER_BYTES: Final = 128
ANNOTATION_BYTES: Final = 256 * 1024
REFUSAL_CHARACTERS: Final = 4_096

# What a machine says of itself in `/info`.
INFO_BYTES: Final = 16_384
INFO_ADDRESSES: Final = 64
DURATION_CHARACTERS: Final = 32
TIME_CHARACTERS: Final = 40
TITLE_CHARACTERS: Final = 128

# The health server: a client, an origin (an IPv4 address or an IPv6 /64), and all of them together (ADR 45).
HTTP_HEAD_BYTES: Final = 8_192
HTTP_LINE_SECONDS: Final = 2.0
HTTP_SECONDS: Final = 5.0
HTTP_CONNECTIONS: Final = 256
HTTP_CONNECTIONS_PER_ORIGIN: Final = 32
HTTP_BACKLOG: Final = 1_024
HTTP_ACCEPTS_AT_ONCE: Final = 16
HTTP_VISITS_PER_SECOND: Final = 200
HTTP_KNOWN_CLIENTS: Final = 1_024
HTTP_TURNED_AWAY: Final = 2_000

# The Kubernetes API: connections that have not shown who they are, by network and in all, and what one user may have under way.
# A proxy in front is one network: it may have as many as a thousand clients need (ADR 52).
API_STRANGERS: Final = 4_096
API_STRANGERS_PER_NETWORK: Final = 2_048
API_CONNECTIONS: Final = 16_384
API_CONNECTIONS_PER_USER: Final = 4_096
API_REQUESTS: Final = 1_024
API_REQUESTS_PER_USER: Final = 400
API_WATCHES_PER_USER: Final = 4_096
QUICK_BODY_BYTES: Final = 16 * 1024
"""Up to here a body is read at once; a longer one beside what else the server does."""
API_BODY_BYTES: Final = 256 * 1024 * 1024
API_BODY_BYTES_PER_USER: Final = 64 * 1024 * 1024
API_REFUSALS_AT_ONCE: Final = 20
API_REFUSALS_PER_SECOND: Final = 2

# The HTTP client, to one server.
HTTP_ANSWER_BYTES: Final = 64 * 1024 * 1024
HTTP_REQUESTS: Final = 64
HTTP_IDLE_CONNECTIONS: Final = 4
HTTP_CONNECT_SECONDS: Final = 5.0

# Events kept per Node: their names are `<node>.<n mod EVENTS_PER_NODE>`, overwritten in turn.
EVENTS_PER_NODE: Final = 64

# Metrics: different values of one label, and of the labels of requests together; how long an amount may be (`16Gi`). The
# families themselves are few, and named in the code.
METRIC_VALUES: Final = 64
METRIC_REQUESTS: Final = 1_024
QUANTITY_CHARACTERS: Final = 64

# Anything waiting to be decided or written.
QUEUE: Final = 16_384
WRITERS: Final = 64
EVENT_WRITERS: Final = 16

# Kinds of faults that an agent counts (`agent/faults.py`): one per line of code at the most.
FAULTS: Final = 256

# Consul: what is read of an answer, and how much is asked at once.
CONSUL_INSTANCES: Final = 16_000
CONSUL_ELEMENT_BYTES: Final = 1024 * 1024
CONSUL_LISTED: Final = 64_000
CONSUL_AILMENTS: Final = 64
CONSUL_NAMED: Final = 8
CONSUL_CHECK_ID_CHARACTERS: Final = 1_024
CONSUL_STATUS_CHARACTERS: Final = 32
CONSUL_HASH_CHARACTERS: Final = 128
CONSUL_QUESTIONS: Final = 16
CONSUL_MESSAGE_CHARACTERS: Final = 200
CHECK_CHARACTERS: Final = 80
DATACENTERS: Final = 32
DATACENTER_CHARACTERS: Final = 63
SERVICE_ID_BYTES: Final = 512
TOKEN_BYTES: Final = 4_096

# The command line: what is kept of the lines that would be written onto a live table; how long a shell waits for words, and how
# many it gets; what `k3 status` reads of the agent's `/metrics`, and shows in one line.
KEPT_REMARKS: Final = 100
COMPLETION_SECONDS: Final = 1.0
COMPLETIONS: Final = 1_000
STATUS_FIGURES_BYTES: Final = 1024 * 1024
STATUS_LINE_CHARACTERS: Final = 4_096

# Stores: calls under way, jobs that wait, and what is kept of foreign values.
ETCD_CALLS: Final = 64
REMEMBERED_BYTES: Final = 32 * 1024 * 1024
ETCD_REPORTED: Final = 1_024
KUBERNETES_CALLS: Final = 16
KUBERNETES_LINE_BYTES: Final = 4 * 1024 * 1024
KUBERNETES_TOKEN_CHARACTERS: Final = 8_192
KUBERNETES_TOKENS: Final = 256
KUBERNETES_PAUSE_SECONDS: Final = 60.0
SQLITE_JOBS: Final = 4_096

# The log: lines that wait for a slow output, whose doing they are (`agent/log_repeats.py`), and how much of a value is written.
LOG_LINES: Final = 5_000
LOG_ORIGINS: Final = 1_024
LOG_ORIGINS_PER_MINUTE: Final = 30
LOG_VALUE_CHARACTERS: Final = 4_096

# The server: what a request body may hold beside what Kubernetes bounds (a quantity's digits, and its power of ten).
QUANTITY_EXPONENT: Final = 99
YAML_BYTES: Final = 256 * 1024
PROTOBUF_FIELDS: Final = 100_000
ANNOTATIONS_BYTES: Final = 256 * 1024
EVENT_TEXT_BYTES: Final = 128
EVENT_MESSAGE_BYTES: Final = 1_024
CAUSES: Final = 256
SHOWN_CHARACTERS: Final = 4_096
