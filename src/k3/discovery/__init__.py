"""The discovery module: machines find each other, and become Nodes, through Consul."""
