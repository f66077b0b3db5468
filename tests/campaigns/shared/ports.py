"""Free ports for servers that cannot choose their own."""

import random
import socket

#: Linux gives outgoing connections the ports from 32768: a server that starts later finds its port still free.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens; random, so that two runs rarely draw the same one."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
