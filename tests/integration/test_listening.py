"""Where the service listens."""

import socket

import pytest

from interfaces.server import AddressUnusable, address, listen


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no socket for both families")
@pytest.mark.parametrize("caller", ["127.0.0.1", "::1"])
def test_every_address_means_those_of_both_families(caller: str) -> None:
    with listen("::", 0) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection((caller, port), timeout=5) as connection:
            assert connection.getpeername()[1] == port
        assert address(listening) == f"http://[::]:{port}"


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("localhost", "127.0.0.1")]
)
def test_an_address_of_one_family_is_that_alone(host: str, shown: str) -> None:
    with listen(host, 0) as listening:
        if listening.family == socket.AF_INET:
            assert address(listening) == f"http://{shown}:{listening.getsockname()[1]}"
        with pytest.raises(AddressUnusable, match="address already in use"):
            listen(host, listening.getsockname()[1])
