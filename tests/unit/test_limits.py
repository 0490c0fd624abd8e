"""Token buckets and whose request it is."""

from __future__ import annotations

import ipaddress

import pytest
from aiohttp.test_utils import make_mocked_request

from rtcfwd.http.addresses import Clients, key_of
from rtcfwd.http.limits import Buckets, retry_after


def test_a_burst_then_the_rate() -> None:
    buckets = Buckets(2.0, 10)
    assert [buckets.take(b"a", 100.0) for _ in range(10)] == [0.0] * 10
    assert buckets.take(b"a", 100.0) == pytest.approx(0.5)
    assert buckets.wait(b"a", 100.25) == pytest.approx(0.25)
    assert buckets.take(b"b", 100.0) == 0.0  # another address
    assert buckets.take(b"a", 100.5) == 0.0
    assert buckets.take(b"a", 100.5) > 0
    assert [buckets.take(b"a", 900.0) for _ in range(10)] == [0.0] * 10  # never more than a burst
    assert buckets.take(b"a", 900.0) > 0


def test_refused_tries_do_not_make_the_wait_longer() -> None:
    buckets = Buckets(1.0, 1)
    assert buckets.take(b"a", 0.0) == 0.0
    for moment in (0.1, 0.2, 0.5, 0.9):
        assert buckets.take(b"a", moment) == pytest.approx(1.0 - moment)
    assert buckets.take(b"a", 1.0) == 0.0


def test_the_table_is_bounded_and_forgets_the_oldest() -> None:
    buckets = Buckets(0.001, 1, table=100)
    for number in range(1000):
        assert buckets.take(number.to_bytes(4, "big"), 0.0) == 0.0
    assert len(buckets) == 100
    assert buckets.take((999).to_bytes(4, "big"), 0.0) > 0
    assert buckets.take((0).to_bytes(4, "big"), 0.0) == 0.0  # forgotten
    # Who keeps asking is seen, so it is not forgotten for others' sake.
    buckets = Buckets(0.001, 1, table=10)
    buckets.take(b"loud", 0.0)
    for number in range(100):
        buckets.take(number.to_bytes(4, "big"), 0.0)
        assert buckets.take(b"loud", 0.0) > 0


def test_retry_after_is_whole_and_not_zero() -> None:
    assert retry_after(0.01) == {"Retry-After": "1"}
    assert retry_after(1.01) == {"Retry-After": "2"}


@pytest.mark.parametrize(
    ("peer", "told", "found"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
        ("fe80::1%eth0", None, "fe80::1"),
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),  # not a proxy of ours: not believed
        ("10.1.2.3", "203.0.113.9", "203.0.113.9"),
        ("10.1.2.3", "6.6.6.6, 203.0.113.9", "203.0.113.9"),  # what the client wrote itself
        ("10.1.2.3", "6.6.6.6, 203.0.113.9, 10.9.9.9", "203.0.113.9"),  # two proxies
        ("10.1.2.3", "nonsense", "10.1.2.3"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", None, "10.1.2.3"),
        ("10.1.2.3", "2001:db8::7", "2001:db8::7"),
    ],
)
def test_whose_request_it_is(peer: str, told: str | None, found: str) -> None:
    class Transport:
        def get_extra_info(self, name: str, default: object = None) -> object:
            return (peer, 1) if name == "peername" else default

    headers = {} if told is None else {"X-Forwarded-For": told}
    request = make_mocked_request("GET", "/", headers=headers, transport=Transport())
    assert str(Clients(["10.0.0.0/8"]).of(request)) == found


def test_an_ipv6_subscriber_is_one_client() -> None:
    keys = {key_of(ipaddress.ip_address(f"2001:db8:0:7::{n}")) for n in range(1, 9)}
    assert len(keys) == 1
    assert key_of(ipaddress.ip_address("2001:db8:0:8::1")) not in keys
    assert key_of(ipaddress.ip_address("192.0.2.1")) != key_of(ipaddress.ip_address("192.0.2.2"))
