"""A laboratory of real hosts: network namespaces on a bridge, with cuts, loss and address changes.

    with Lan("10.77.1.0/24") as lan:
        a, b = lan.host("a"), lan.host("b")
        agent = a.start(["k3", "network", "--node-name", "a"])
        agent.wait_for("listening")
        lan.cut(b)

Every host has its own network, hostname, /etc/machine-id, /run, /var/lib and home; everything else, a directory under
/tmp for instance, is shared under the same path. Nothing touches the machine's own network, and nothing is named in it:
a namespace lives as long as the processes in it, and those end with the test, or with the test process if it is killed.
"""

from tests.lab.host import Host, Traffic
from tests.lab.net import AUTO, Lan, Nic
from tests.lab.process import Process
from tests.lab.waiting import until, until_so

__all__ = ["AUTO", "Host", "Lan", "Nic", "Process", "Traffic", "until", "until_so"]
