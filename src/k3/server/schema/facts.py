"""What the models of Kubernetes do not have: numbers of protobuf fields, and how Go holds a field. Pure.

A word is `name=number`, the number of the field in protobuf (`generated.proto` of k8s.io/api and k8s.io/apimachinery 1.37).
After it:

* `*`: a pointer in Go, or a time that is left out when it is zero. A value of zero that was given is kept; nothing is written
  where nothing was given. A struct without it is always written, if only as `{}`, and a time as null.
* `!`: written though it is zero; other fields are so only where the models require them. `?`: left out when it is zero, though
  the models require it.
* `:Type`: the type in Go where the models have only "a number", "a text" or "an object", as messages of refusals name it.
"""

from functools import cache
from typing import Final

from k3.core.records import dataclass

FIELDS: Final = {
    # meta/v1
    "DeleteOptions": (
        "gracePeriodSeconds=1* preconditions=2* orphanDependents=3* propagationPolicy=4*:v1.DeletionPropagation dryRun=5 "
        "ignoreStoreReadErrorWithClusterBreakingPotential=6*"
    ),
    "FieldSelectorRequirement": "key=1 operator=2:v1.FieldSelectorOperator values=3",
    "LabelSelectorRequirement": "key=1 operator=2:v1.LabelSelectorOperator values=3",
    "ManagedFieldsEntry": (
        "manager=1 operation=2:v1.ManagedFieldsOperationType apiVersion=3 time=4* fieldsType=6 fieldsV1=7* subresource=8"
    ),
    "ObjectMeta": (
        "name=1 generateName=2 namespace=3 selfLink=4 uid=5:types.UID resourceVersion=6 generation=7 creationTimestamp=8* "
        "deletionTimestamp=9* deletionGracePeriodSeconds=10* labels=11 annotations=12 ownerReferences=13 finalizers=14 "
        "managedFields=17"
    ),
    "OwnerReference": "apiVersion=5 kind=1 name=3 uid=4:types.UID controller=6* blockOwnerDeletion=7*",
    "Preconditions": "uid=1*:types.UID resourceVersion=2*",
    # core/v1
    "AttachedVolume": "name=1:v1.UniqueVolumeName devicePath=2",
    "ConfigMap": "metadata=1 immutable=4* data=2 binaryData=3:map[string][]uint8",
    "ConfigMapNodeConfigSource": "namespace=1 name=2 uid=3:types.UID resourceVersion=4 kubeletConfigKey=5",
    "ContainerImage": "names=1! sizeBytes=2",
    "DaemonEndpoint": "Port=1:int32",
    "Event": (
        "metadata=1 involvedObject=2 reason=3 message=4 source=5 firstTimestamp=6 lastTimestamp=7 count=8:int32 type=9 "
        "eventTime=10 series=11* action=12 related=13* reportingComponent=14! reportingInstance=15!"
    ),
    "EventSeries": "count=1:int32 lastObservedTime=2",
    "EventSource": "component=1 host=2",
    "Namespace": "metadata=1 spec=2 status=3",
    "NamespaceCondition": (
        "type=1:v1.NamespaceConditionType status=2:v1.ConditionStatus lastTransitionTime=4 reason=5 message=6"
    ),
    "NamespaceSpec": "finalizers=1:[]v1.FinalizerName",
    "NamespaceStatus": "phase=1:v1.NamespacePhase conditions=2",
    "Node": "metadata=1 spec=2 status=3",
    "NodeAddress": "type=1:v1.NodeAddressType address=2",
    "NodeCondition": (
        "type=1:v1.NodeConditionType status=2:v1.ConditionStatus lastHeartbeatTime=3 lastTransitionTime=4 reason=5 message=6"
    ),
    "NodeConfigSource": "configMap=2*",
    "NodeConfigStatus": "assigned=1* active=2* lastKnownGood=3* error=4",
    "NodeDaemonEndpoints": "kubeletEndpoint=1",
    "NodeFeatures": "supplementalGroupsPolicy=1*",
    "NodePodPreemptionPolicy": "disableResizePreemption=1",
    "NodeRuntimeHandler": "name=1! features=2*",
    "NodeRuntimeHandlerFeatures": "recursiveReadOnlyMounts=1* userNamespaces=2*",
    "NodeSpec": (
        "podCIDR=1 podCIDRs=7 providerID=3 unschedulable=4 taints=5 configSource=6* externalID=2 podPreemptionPolicy=8*"
    ),
    "NodeStatus": (
        "capacity=1:v1.ResourceList allocatable=2:v1.ResourceList phase=3:v1.NodePhase conditions=4 addresses=5 "
        "daemonEndpoints=6 nodeInfo=7 images=8 volumesInUse=9:[]v1.UniqueVolumeName volumesAttached=10 config=11* "
        "runtimeHandlers=12 features=13* declaredFeatures=14"
    ),
    "NodeSwapStatus": "capacity=1*",
    "NodeSystemInfo": (
        "machineID=1 systemUUID=2 bootID=3 kernelVersion=4 osImage=5 containerRuntimeVersion=6 kubeletVersion=7 "
        "kubeProxyVersion=8 operatingSystem=9 architecture=10 swap=11* runningInUserNamespace=12*"
    ),
    "ObjectReference": "kind=1 namespace=2 name=3 uid=4:types.UID apiVersion=5 resourceVersion=6 fieldPath=7",
    "Taint": "key=1 value=2 effect=3:v1.TaintEffect timeAdded=4*",
    # coordination.k8s.io/v1
    "Lease": "metadata=1 spec=2",
    "LeaseSpec": (
        "holderIdentity=1* leaseDurationSeconds=2*:int32 acquireTime=3* renewTime=4* leaseTransitions=5*:int32 "
        "strategy=6*:v1.CoordinatedLeaseStrategy preferredHolder=7*"
    ),
    # policy/v1
    "Eviction": "metadata=1 deleteOptions=2*",
    # authorization.k8s.io/v1
    "FieldSelectorAttributes": "rawSelector=1 requirements=2",
    "LabelSelectorAttributes": "rawSelector=1 requirements=2",
    "NonResourceAttributes": "path=1 verb=2",
    "NonResourceRule": "verbs=1 nonResourceURLs=2",
    "ResourceAttributes": (
        "namespace=1 verb=2 group=3 version=4 resource=5 subresource=6 name=7 fieldSelector=8* labelSelector=9*"
    ),
    "ResourceRule": "verbs=1 apiGroups=2 resources=3 resourceNames=4",
    "SelfSubjectAccessReview": "metadata=1 spec=2 status=3",
    "SelfSubjectAccessReviewSpec": "resourceAttributes=1* nonResourceAttributes=2*",
    "SelfSubjectRulesReview": "metadata=1 spec=2 status=3",
    "SelfSubjectRulesReviewSpec": "namespace=1",
    "SubjectAccessReview": "metadata=1 spec=2 status=3",
    "SubjectAccessReviewSpec": (
        "resourceAttributes=1* nonResourceAttributes=2* user=3 groups=4 extra=5:map[string]v1.ExtraValue uid=6"
    ),
    "SubjectAccessReviewStatus": "allowed=1 denied=4 reason=2 evaluationError=3",
    "SubjectRulesReviewStatus": "resourceRules=1 nonResourceRules=2 incomplete=3 evaluationError=4",
    # authentication.k8s.io/v1
    "SelfSubjectReview": "metadata=1 status=2",
    "SelfSubjectReviewStatus": "userInfo=1",
    "TokenReview": "metadata=1 spec=2 status=3",
    "TokenReviewSpec": "token=1? audiences=2",
    "TokenReviewStatus": "authenticated=1 user=2 audiences=4 error=3",
    "UserInfo": "username=1 uid=2 groups=3 extra=4:map[string]v1.ExtraValue",
    # storage.k8s.io/v1
    "CSINode": "metadata=1 spec=2 status=3",
    "CSINodeDriver": "name=1 nodeID=2 topologyKeys=3! allocatable=4*",
    "CSINodeSpec": "drivers=1",
    "CSINodeStatus": "storageHealth=1",
    "StorageHealth": "name=1 healthConditions=2",
    "StorageHealthCondition": (
        "status=1:v1.StorageHealthStatusType reason=2 message=3 accessMode=4*:v1.PersistentVolumeAccessMode "
        "volumeMode=5*:v1.PersistentVolumeMode lastTransitionTime=6"
    ),
    "VolumeNodeResources": "count=1*:int32",
}

LISTS: Final = {
    "NamespaceStatus.conditions": "type",
    "NodePodPreemptionPolicy.disableResizePreemption": "",
    "NodeSpec.podCIDRs": "",
    "NodeStatus.addresses": "type",
    "NodeStatus.conditions": "type",
    "ObjectMeta.finalizers": "",
    "ObjectMeta.ownerReferences": "uid",
    "PodSpec.containers": "name",
    "PodStatus.conditions": "type",
}
"""Lists that are merged: the key of their items; nothing where the items are texts, each there once. Others are one value."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known of one field. `reverses`: Go writes its zero value though the models do not require it, or the reverse."""

    number: int
    pointer: bool
    reverses: bool
    go: str


_UNKNOWN: Final = Fact(0, pointer=True, reverses=False, go="")
"""A field of newer models than this table, or of a kind that is not written here: it is kept as it was given."""


def fact(struct: str, field: str) -> Fact:
    """Returns what is known of a field."""
    return facts(struct).get(field, _UNKNOWN)


@cache
def facts(struct: str) -> dict[str, Fact]:
    """Returns what is known of the fields of a struct."""
    return dict(map(_parsed, FIELDS.get(struct, "").split()))


def _parsed(word: str) -> tuple[str, Fact]:
    name, _, rest = word.partition("=")
    number, _, go = rest.partition(":")
    return name, Fact(int(number.rstrip("*!?")), "*" in number, "!" in number or "?" in number, go)
