"""k3: which machines do I have right now, and are they healthy?"""

__version__ = "0.1.0"
