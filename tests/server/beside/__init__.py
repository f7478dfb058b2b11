"""The same requests to `k3 server` and to a real kube-apiserver."""
