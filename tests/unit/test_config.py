"""Settings: precedence of the sources, and one clear line for each bad value."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from rtcfwd import cli
from rtcfwd.config import Config, ConfigError, add_arguments, load


def parse(*arguments: str, env: dict[str, str] | None = None) -> Config:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return load(vars(parser.parse_args(arguments)), env or {})


def test_defaults() -> None:
    config = parse()
    assert config == Config()
    assert (config.host, config.port, config.udp_port) == ("::", 8080, 8189)
    assert config.max_body == 65536


def test_command_line_over_environment_over_file_over_default(tmp_path: Path) -> None:
    file = tmp_path / "rtcfwd.toml"
    file.write_text('port = 1\nudp_port = 2\nworkers = 3\nremb = "2M"\ngrace = 1\n')
    env = {"RTCFWD_PORT": "11", "RTCFWD_UDP_PORT": "12", "RTCFWD_CONFIG": str(file)}
    config = parse("--port", "21", env=env)
    assert (config.port, config.udp_port, config.workers) == (21, 12, 3)
    assert (config.remb, config.grace, config.host) == (2_000_000, 1.0, "::")


def test_announce_in_all_its_forms(tmp_path: Path) -> None:
    wanted = ("192.0.2.1", "2001:db8::1")
    assert parse("--announce", *wanted).announce == wanted
    assert parse("--announce", "192.0.2.1", "--announce", "2001:DB8::1").announce == wanted
    assert parse(env={"RTCFWD_ANNOUNCE": "192.0.2.1, 2001:db8::1"}).announce == wanted
    file = tmp_path / "a.toml"
    file.write_text('announce = ["192.0.2.1", "2001:db8::1"]')
    assert parse("--config", str(file)).announce == wanted


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("host", "*", "::"),
        ("host", "localhost", "127.0.0.1"),
        ("remb", "800k", 800_000),
        ("remb", "1.5M", 1_500_000),
        ("log_level", "DEBUG", "debug"),
        ("egress", "sendmmsg", "sendmmsg"),
        ("grace", "0", 0.0),
    ],
)
def test_values(name: str, value: str, wanted: object) -> None:
    config = parse("--" + name.replace("_", "-"), value)
    assert getattr(config, name) == wanted


def test_access_settings_in_all_their_forms(tmp_path: Path) -> None:
    rules = ["publish:cam-*:0123456789abcdef", "*:*:f:e:d:c:b:a:9:8:7"]
    wanted = (("publish", "cam-*", "0123456789abcdef"), ("*", "*", "f:e:d:c:b:a:9:8:7"))
    assert parse("--auth-tokens", *rules).auth_tokens == wanted
    assert parse(env={"RTCFWD_AUTH_TOKENS": " ".join(rules)}).auth_tokens == wanted
    file = tmp_path / "a.toml"
    file.write_text(
        f"auth_tokens = {rules}\ntls_self_signed = true\n"
        'redirect = ["view:*:https://edge.example.net:8443/x/"]\n'
        'ice_servers = ["stun:a.example", "turn:[2001:db8::1]:3478?transport=udp"]\n'
        'turn_secret = "s"\ntrusted_proxies = "127.0.0.1 10.0.0.0/8"\nrate_limit = 0.5\n'
    )
    config = parse("--config", str(file))
    assert config.auth_tokens == wanted
    assert config.tls_self_signed is True
    assert config.redirect == (("view", "*", "https://edge.example.net:8443/x"),)
    assert config.ice_servers == ("stun:a.example", "turn:[2001:db8::1]:3478?transport=udp")
    assert config.trusted_proxies == ("127.0.0.1/32", "10.0.0.0/8")
    assert config.rate_limit == 0.5
    assert parse("--tls-self-signed").tls_self_signed is True
    assert parse("--tls-self-signed", "no").tls_self_signed is False
    assert parse(env={"RTCFWD_TLS_SELF_SIGNED": "1"}).tls_self_signed is True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auth_tokens", "publish:demo:short-hunter2"),
        ("auth_tokens", "publish:hunter2hunter2hunter2"),
        ("auth_tokens", "hunter2hunter2hunter2"),
        ("auth_tokens", "watch:demo:hunter2hunter2hunter2"),
        ("auth_tokens", "publish:a/b:hunter2hunter2hunter2"),
        ("auth_jwt_secret", "hunter2"),
        ("auth_webhook", "ftp://user:hunter2@host/"),
        ("turn_password", "hunter2 with spaces"),
        ("turn_secret", "hunter2\n"),
    ],
)
def test_a_secret_is_not_told_with_its_mistake(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(f"--{name.replace('_', '-')}={value}")
    assert f"--{name.replace('_', '-')}: wants" in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--tls-cert", "c.pem"], "tls_cert and tls_key: give both"),
        (["--tls-key", "k.pem"], "tls_cert and tls_key: give both"),
        (
            ["--tls-cert", "c.pem", "--tls-key", "k.pem", "--tls-self-signed"],
            "tls_self_signed: not together",
        ),
        (["--ice-servers", "turn:h"], "a TURN server needs turn_secret"),
        (["--turn-username", "u"], "turn_username and turn_password: give both"),
    ],
)
def test_settings_that_need_each_other(arguments: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse(*arguments)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("redirect", "view:demo:edge.example.net"),
        ("redirect", "admin:demo:https://edge.example.net"),
        ("redirect_full", "edge.example.net"),
        ("redirect_full", "https://edge.example.net/?x"),
        ("ice_servers", "stun.example.net"),
        ("ice_servers", 'stun:a"b'),
        ("ice_servers", "turn:h?transport=sctp"),
        ("trusted_proxies", "proxy.example.net"),
        ("trusted_proxies", "10.0.0.1/8"),
        ("auth_sessions", "none"),
        ("tls_self_signed", "maybe"),
        ("rate_limit", "-1"),
        ("port", "65536"),
        ("port", "-1"),
        ("port", "http"),
        ("port", ""),
        ("host", "example.com"),
        ("announce", "example.com"),
        ("announce", "0.0.0.0"),
        ("announce", "239.1.2.3"),
        ("workers", "1.5"),
        ("grace", "nan"),
        ("remb", "fast"),
        ("remb", "1"),
        ("egress", "udp"),
        ("log_level", "loud"),
        ("max_body", "0"),
    ],
)
def test_a_bad_value_names_its_source_and_what_is_wanted(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"environment variable RTCFWD_{name.upper()} = .*wants"):
        parse(env={f"RTCFWD_{name.upper()}": value})
    with pytest.raises(ConfigError, match=rf"^--{name.replace('_', '-')} = "):
        parse(f"--{name.replace('_', '-')}={value}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("port = true", "port = True: wants a whole number"),
        ('port = "x"', "port = 'x': wants"),
        ("announce = 5", "announce = 5: wants"),
        ("pord = 1", "pord: there is no such setting; did you mean port?"),
        ("[limits]", "limits: there is no such setting"),
        ("port = ", "is not TOML"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        parse("--config", str(file))
    assert str(file) in str(error.value)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^/nowhere/x.toml: cannot be read"):
        parse("--config", "/nowhere/x.toml")


def test_the_command_says_it_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--port", "x"]) == 2
    told = capsys.readouterr().err
    assert told == "rtcfwd: --port = 'x': wants a whole number from 0 to 65535\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("rtcfwd 0.")
