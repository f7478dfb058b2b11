"""The tests of k3; `lab` makes real hosts, `servers` starts real servers."""
