"""Real servers for tests: on free ports, with throw-away data, stopped by process id.

Each starter is a context manager that gives a `Server` once it answers. With `host=` it runs on a host of the laboratory
and listens on that host's address, so that other hosts reach it.
"""

from tests.servers.consul import consul_agent
from tests.servers.etcd import etcd_server
from tests.servers.mariadb import Mariadb, mariadb_server
from tests.servers.server import Server

__all__ = ["Mariadb", "Server", "consul_agent", "etcd_server", "mariadb_server"]
