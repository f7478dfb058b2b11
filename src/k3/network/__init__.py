"""The network module: machines on one LAN find each other by mDNS, prove who they are, and become Nodes."""
