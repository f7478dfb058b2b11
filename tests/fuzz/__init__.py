"""Every parser of bytes from outside, held to one law: it answers within its bounds, or refuses in its own words, and soon.

parser      what a parser is here, and the law
making      how inputs are made: something valid with one thing odd
running     how long is tried: a moment in `make check`, as long as wanted in `make fuzz`
network, discovery, stores, showing, settings, http, kernel    the parsers
table       all of them

`tests/corpus/<parser>/` has inputs that are tried every time.
"""
