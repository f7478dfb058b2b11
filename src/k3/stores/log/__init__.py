"""What the backends share that keep a log of changes themselves, in tables or in memory.

writes    what one write does to one object
sql       the tables, the statements, and how rows become objects and changes
commit    many callers' writes in one transaction
fanout    each committed change to every watcher of its kind
tail      follows a log that several processes write
logged    the verbs of a store that has all of these
"""
