"""Which addresses answers list: interfaces and networks chosen, announced ones, what never is."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from rtcfwd import addresses
from rtcfwd.addresses import Interface, NoAddress, for_answers, matches, usable
from rtcfwd.app import StartError, announced_addresses
from rtcfwd.config import Config, ConfigError, load
from rtcfwd.ice import host_candidates

MACHINE = [
    Interface(name, ip_address(address))
    for name, address in (
        ("lo", "127.0.0.1"),
        ("lo", "::1"),
        ("eth0", "192.0.2.7"),
        ("eth0", "2001:db8::7"),
        ("eth0", "fe80::7"),
        ("eth1", "10.1.2.3"),
        ("docker0", "172.17.0.1"),
        ("br-1f2e", "172.18.0.1"),
    )
]


@pytest.mark.duty("M2", "M10")
def test_every_interface_and_both_families() -> None:
    """IPv4 first, loopback last, no link-local address (its scope means nothing to a peer)."""
    everything = ["192.0.2.7", "10.1.2.3", "172.17.0.1", "172.18.0.1", "2001:db8::7"]
    assert usable(MACHINE) == [*everything, "127.0.0.1", "::1"]
    assert for_answers(MACHINE, "::") == [*everything, "127.0.0.1"]
    assert for_answers(MACHINE, "0.0.0.0") == [*everything[:4], "127.0.0.1"]
    found = host_candidates(for_answers(MACHINE, "::"), 8189)
    assert len({c.priority for c in found}) == len({c.foundation for c in found}) == len(found)
    assert {c.component for c in found} == {1}
    assert {c.type for c in found} == {"host"}


@pytest.mark.parametrize(
    ("include", "exclude", "left"),
    [
        (["eth0"], [], ["192.0.2.7", "2001:db8::7"]),
        (["eth*"], ["2000::/3"], ["192.0.2.7", "10.1.2.3"]),
        (["10.0.0.0/8", "lo"], ["::1"], ["10.1.2.3", "127.0.0.1"]),
        ([], ["docker*", "br-*", "lo"], ["192.0.2.7", "10.1.2.3", "2001:db8::7"]),
        ([], ["172.16.0.0/12", "127.0.0.0/8", "::/0"], ["192.0.2.7", "10.1.2.3"]),
        (["192.0.2.7"], [], ["192.0.2.7"]),
    ],
)
def test_selectors(include: list[str], exclude: list[str], left: list[str]) -> None:
    assert for_answers(MACHINE, "::", (), include, exclude) == left


def test_a_name_that_looks_like_no_network_is_a_name() -> None:
    assert matches(Interface("10", ip_address("192.0.2.1")), "1?")
    assert not matches(MACHINE[2], "ETH0")


def test_announced_addresses_replace_all() -> None:
    """NAT 1:1: what clients outside and inside can reach, in this order."""
    told = ("203.0.113.7", "192.168.1.10", "2001:db8:1::7")
    assert for_answers(MACHINE, "::", told, ["eth9"]) == list(told)
    candidates = host_candidates(told, 8189, 8189)
    assert [(c.transport, c.host) for c in candidates] == [
        ("udp", "203.0.113.7"),
        ("udp", "192.168.1.10"),
        ("udp", "2001:db8:1::7"),
        ("tcp", "203.0.113.7"),
        ("tcp", "192.168.1.10"),
        ("tcp", "2001:db8:1::7"),
    ]


def test_nothing_left_is_an_error_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoAddress, match=r"this machine has: lo 127\.0\.0\.1"):
        for_answers(MACHINE, "::", (), ["wlan0"])
    assert for_answers([], "::") == ["127.0.0.1"]
    assert for_answers(MACHINE[1:2], "::") == ["::1"]
    monkeypatch.setattr(addresses, "interfaces", lambda: MACHINE)
    with pytest.raises(StartError, match="--exclude-interfaces"):
        announced_addresses(Config(exclude_interfaces=("*",)))


def test_many_addresses_are_cut_and_loopback_stays() -> None:
    many = [Interface("eth0", ip_address(f"192.0.2.{n}")) for n in range(1, 40)]
    found = for_answers([*many, MACHINE[0]], "::")
    assert len(found) == 8
    assert found[-1] == "127.0.0.1"


def test_settings() -> None:
    config = load(
        {"interfaces": ["eth0,10.0.0.0/8", "wlan*"], "ice_tcp_port": "OFF"},
        {"RTCFWD_EXCLUDE_INTERFACES": "docker0 172.16.0.0/12"},
    )
    assert config.interfaces == ("eth0", "10.0.0.0/8", "wlan*")
    assert config.exclude_interfaces == ("docker0", "172.16.0.0/12")
    assert config.ice_tcp_port == "off"
    assert load({"ice_tcp_port": "8443"}, {}).ice_tcp_port == "8443"
    for name, value in (("interfaces", "10.0.0.0/99"), ("ice_tcp_port", "65536")):
        with pytest.raises(ConfigError, match="wants"):
            load({name: value}, {})


def test_link_local_multicast_and_unspecified_are_no_candidates() -> None:
    wrong = ["fe80::1", "169.254.1.1", "ff02::1", "224.0.0.1", "0.0.0.0", "::"]
    assert host_candidates(wrong, 8189, 8189) == []
