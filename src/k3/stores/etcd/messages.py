"""The part of etcd's v3 protocol that k3 speaks: its messages as classes, and its methods by name. No I/O.

Only fields k3 reads or sets are listed (numbers: etcd's `api/etcdserverpb/rpc.proto`, `api/mvccpb/kv.proto`); any other field
of an answer is skipped by protobuf. The descriptors live in a pool of their own, so another etcd client in the same process
cannot collide with them, and there is no generated code to fit to a protobuf release (ADR 14).
"""

from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from k3.core.records import dataclass

Message = Any
"""An instance of one of the classes below; its fields are those of the table."""

_PACKAGE: Final = "etcdserverpb"
# One message per entry; each field is `type name number`, `*` marks a repeated one, and `|group` a member of a oneof.
_MESSAGES: Final = {
    "KeyValue": "bytes key 1, int64 create_revision 2, int64 mod_revision 3, int64 version 4, bytes value 5",
    "Event": "int32 type 1, KeyValue kv 2, KeyValue prev_kv 3",
    "ResponseHeader": "uint64 cluster_id 1, uint64 member_id 2, int64 revision 3",
    "RangeRequest": "bytes key 1, bytes range_end 2, int64 limit 3, int64 revision 4, bool keys_only 8, bool count_only 9,"
    " int64 min_mod_revision 10",
    "RangeResponse": "ResponseHeader header 1, KeyValue* kvs 2, bool more 3, int64 count 4",
    "PutRequest": "bytes key 1, bytes value 2",
    "PutResponse": "ResponseHeader header 1",
    "DeleteRangeRequest": "bytes key 1, bytes range_end 2, bool prev_kv 3",
    "DeleteRangeResponse": "ResponseHeader header 1, int64 deleted 2, KeyValue* prev_kvs 3",
    "RequestOp": "RangeRequest request_range 1|request, PutRequest request_put 2|request,"
    " DeleteRangeRequest request_delete_range 3|request",
    "ResponseOp": "RangeResponse response_range 1|response, PutResponse response_put 2|response,"
    " DeleteRangeResponse response_delete_range 3|response",
    "Compare": "int32 result 1, int32 target 2, bytes key 3, int64 version 4|value, int64 mod_revision 6|value",
    "TxnRequest": "Compare* compare 1, RequestOp* success 2, RequestOp* failure 3",
    "TxnResponse": "ResponseHeader header 1, bool succeeded 2, ResponseOp* responses 3",
    "CompactionRequest": "int64 revision 1",
    "CompactionResponse": "ResponseHeader header 1",
    "WatchCreateRequest": "bytes key 1, bytes range_end 2, int64 start_revision 3, bool progress_notify 4, bool prev_kv 6,"
    " bool fragment 8",
    "WatchProgressRequest": "",
    "WatchRequest": "WatchCreateRequest create_request 1|request, WatchProgressRequest progress_request 3|request",
    "WatchResponse": "ResponseHeader header 1, int64 watch_id 2, bool created 3, bool canceled 4, int64 compact_revision 5,"
    " string cancel_reason 6, bool fragment 7, Event* events 11",
    "AuthenticateRequest": "string name 1, string password 2",
    "AuthenticateResponse": "ResponseHeader header 1, string token 2",
    "StatusRequest": "",
    "StatusResponse": "ResponseHeader header 1, string version 2, int64 dbSize 3",
}


def _describe() -> FileDescriptorProto:
    file = FileDescriptorProto(name="k3/etcd.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        oneofs: list[str] = []
        for declared in filter(None, fields.split(",")):
            type_, field_name, place = declared.split()
            number, _, oneof = place.partition("|")
            added = message.field.add(name=field_name, number=int(number), label=FieldDescriptorProto.LABEL_OPTIONAL)
            if type_.endswith("*"):
                added.label = FieldDescriptorProto.LABEL_REPEATED
            _set_type(added, type_.rstrip("*"))
            if oneof:
                if oneof not in oneofs:
                    oneofs.append(oneof)
                    message.oneof_decl.add(name=oneof)
                added.oneof_index = oneofs.index(oneof)
    return file


def _set_type(added: FieldDescriptorProto, type_: str) -> None:
    if type_ in _MESSAGES:
        added.type = FieldDescriptorProto.TYPE_MESSAGE
        added.type_name = f".{_PACKAGE}.{type_}"
    else:
        added.type = FieldDescriptorProto.Type.Value(f"TYPE_{type_.upper()}")


_POOL: Final = DescriptorPool()
_POOL.AddSerializedFile(_describe().SerializeToString())


def _class(name: str) -> Any:  # noqa: ANN401 - made at run time: no type describes it
    return GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


Compare: Final = _class("Compare")
RequestOp: Final = _class("RequestOp")
RangeRequest: Final = _class("RangeRequest")
PutRequest: Final = _class("PutRequest")
DeleteRangeRequest: Final = _class("DeleteRangeRequest")
TxnRequest: Final = _class("TxnRequest")
CompactionRequest: Final = _class("CompactionRequest")
WatchCreateRequest: Final = _class("WatchCreateRequest")
WatchProgressRequest: Final = _class("WatchProgressRequest")
WatchRequest: Final = _class("WatchRequest")
AuthenticateRequest: Final = _class("AuthenticateRequest")
StatusRequest: Final = _class("StatusRequest")

EVENT_DELETE: Final = 1
_COMPARE_EQUAL: Final = 0
_TARGET_MOD: Final = 2


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the protocol, and how its two messages become bytes and back."""

    path: str
    request: Any
    response: Any


RANGE: Final = Method(f"/{_PACKAGE}.KV/Range", RangeRequest, _class("RangeResponse"))
TXN: Final = Method(f"/{_PACKAGE}.KV/Txn", TxnRequest, _class("TxnResponse"))
PUT: Final = Method(f"/{_PACKAGE}.KV/Put", PutRequest, _class("PutResponse"))
DELETE_RANGE: Final = Method(f"/{_PACKAGE}.KV/DeleteRange", DeleteRangeRequest, _class("DeleteRangeResponse"))
COMPACT: Final = Method(f"/{_PACKAGE}.KV/Compact", CompactionRequest, _class("CompactionResponse"))
AUTHENTICATE: Final = Method(f"/{_PACKAGE}.Auth/Authenticate", AuthenticateRequest, _class("AuthenticateResponse"))
STATUS: Final = Method(f"/{_PACKAGE}.Maintenance/Status", StatusRequest, _class("StatusResponse"))
WATCH: Final = Method(f"/{_PACKAGE}.Watch/Watch", WatchRequest, _class("WatchResponse"))
METHODS: Final = (RANGE, TXN, PUT, DELETE_RANGE, COMPACT, AUTHENTICATE, STATUS)
"""The methods with one request and one answer."""


def prefix_end(prefix: bytes) -> bytes:
    """Returns the first key behind all that start with `prefix` (whose last byte is not 255)."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def put_if(key: bytes, value: bytes, *, revision: int) -> Message:
    """A transaction that puts `value` if the key is still at mod `revision` (0: there is no such key), and else reads it."""
    return TxnRequest(
        compare=[_at(key, revision)], success=[RequestOp(request_put=PutRequest(key=key, value=value))], failure=[_read(key)]
    )


def delete_if(key: bytes, *, revision: int) -> Message:
    """A transaction that deletes the key if it is still at mod `revision`, and else reads it."""
    request = DeleteRangeRequest(key=key, prev_kv=True)
    return TxnRequest(compare=[_at(key, revision)], success=[RequestOp(request_delete_range=request)], failure=[_read(key)])


def found_instead(response: Message) -> Message | None:
    """Returns the key and value that a transaction found whose condition did not hold; None: there is no such key."""
    kvs = response.responses[0].response_range.kvs
    return kvs[0] if kvs else None


def _at(key: bytes, revision: int) -> Message:
    return Compare(result=_COMPARE_EQUAL, target=_TARGET_MOD, key=key, mod_revision=revision)


def _read(key: bytes) -> Message:
    return RequestOp(request_range=RangeRequest(key=key))
