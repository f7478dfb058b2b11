"""Which machines do I have right now, and are they healthy: k3 answers that.

One command per machine; each becomes a Kubernetes Node in a store of your choice.
"""

__version__ = "0.1.0"
