"""Reading a configuration: where values come from, and how each mistake is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config.load import load
from gateway.errors import ConfigError
from gateway.policy.ip_change import Preset
from gateway.policy.routes import Auth

SMALLEST = """
[firebase]
project_id = "acme"
[[upstream]]
name = "app"
urls = ["http://127.0.0.1:3000"]
[[route]]
match = { path = "/**" }
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_smallest_file_has_safe_defaults(tmp_path: Path) -> None:
    """... needs six lines, requires a session everywhere and trusts nobody."""
    config = load(write(tmp_path, SMALLEST), environment={}).config
    assert (config.listen.public, config.listen.admin) == ("127.0.0.1:8080", "127.0.0.1:9090")
    assert config.listen.trusted_proxies == ()
    assert config.route[0].auth is Auth.REQUIRED
    assert config.network.preset is Preset.RELAXED
    assert config.revocation.max_staleness == 60
    assert config.firebase.emulator is None


def test_each_source_wins_over_the_one_before(tmp_path: Path) -> None:
    """... takes defaults, then the file, then the environment, then flags, and remembers which."""
    path = write(tmp_path, SMALLEST + '[listen]\npublic = "127.0.0.1:1001"\nadmin = "127.0.0.1:1002"\n')
    environment = {"GATEWAY__LISTEN__PUBLIC": "127.0.0.1:2001", "GATEWAY__FIREBASE__API_KEY": "0123"}
    loaded = load(
        path, environment=environment, overrides={"listen.public": "127.0.0.1:3001"}, defaults={"login.title": "Acme"}
    )
    assert (loaded.config.listen.public, loaded.config.listen.admin) == ("127.0.0.1:3001", "127.0.0.1:1002")
    assert loaded.config.firebase.api_key == "0123"
    assert loaded.config.login.title == "Acme"
    assert loaded.origins["$.listen.public"] == "flag"
    assert loaded.origins["$.listen.admin"] == str(path)
    assert loaded.origins["$.firebase.api_key"] == "GATEWAY__FIREBASE__API_KEY"
    assert loaded.origins["$.login.title"] == "default of this command"


def test_environment_lists_are_toml(tmp_path: Path) -> None:
    """... reads a list from the environment as TOML writes it."""
    environment = {"GATEWAY__LISTEN__TRUSTED_PROXIES": '["10.0.0.0/8"]', "GATEWAY__REVOCATION__MAX_STALENESS": "5s"}
    config = load(write(tmp_path, SMALLEST), environment=environment).config
    assert config.listen.trusted_proxies == ("10.0.0.0/8",)
    assert config.revocation.max_staleness == 5


def test_a_platform_may_name_the_port(tmp_path: Path) -> None:
    """... serves the port that its platform names, unless the configuration names an address."""
    assert load(write(tmp_path, SMALLEST), environment={"PORT": "8081"}).config.listen.public == "0.0.0.0:8081"
    explicit = write(tmp_path, SMALLEST + '[listen]\npublic = "127.0.0.1:1001"\n')
    assert load(explicit, environment={"PORT": "8081"}).config.listen.public == "127.0.0.1:1001"


def test_references_to_environment_and_files(tmp_path: Path) -> None:
    """... takes a whole value from the environment or from a file beside the configuration."""
    (tmp_path / "key.txt").write_text("from-file\n")
    text = SMALLEST.replace('"acme"', '"${env:PROJECT}"') + '[login]\ntitle = "${file:key.txt}"\n'
    config = load(write(tmp_path, text), environment={"PROJECT": "from-env"}).config
    assert (config.firebase.project_id, config.login.title) == ("from-env", "from-file")


MISTAKES: list[tuple[str, str, str]] = [
    # text added or replaced, where, part of what or hint
    ('[firebase]\nprojectid = "x"', "$.firebase.projectid", "did you mean project_id?"),
    ('[firebase]\nproject_id = "x"\n[listn]\n', "$.listn", "did you mean listen?"),
    ('[firebase]\nproject_id = "x"\n[firebase.endpoints]\nidentity = "x"', "endpoints.identity", "did you mean"),
    ("[firebase]\n", "$.firebase.project_id", "is missing write project_id"),
    ('[login]\ntitle = "x"', "$.firebase", "is missing"),
    ("nonsense", "gateway.toml", "is not TOML"),
    ("[firebase]\nproject_id = 5", "$.firebase.project_id", "expected `str`"),
    (SMALLEST + '[listen]\nproxy_protocol = "yes"', "$.listen.proxy_protocol", "write true or false"),
    (SMALLEST + '[listen]\nworkers = "2"', "$.listen.workers", "without quotation marks"),
    (SMALLEST + '[listen]\ntrusted_proxies = "10.0.0.0/8"', "$.listen.trusted_proxies", "write a list"),
    (SMALLEST.replace('path = "/**"', ""), "$.route[0].match.path", "write path ="),
    ('[firebase]\nproject_id = ""', "$.firebase.project_id", "not a project id"),
    ('[firebase]\nproject_id = "a b"', "$.firebase.project_id", "not a project id"),
    ('[firebase]\nproject_id = "x"\nclock_skew = 3', "$.firebase.clock_skew", "a duration is"),
    ('[firebase]\nproject_id = "x"\nclock_skew = "1h"', "$.firebase.clock_skew", "more than 300"),
    ('[firebase]\nproject_id = "x"\ncredentials = "key.json"', "$.firebase.credentials", "file:PATH"),
    ('[firebase]\nproject_id = "x"\nemulator = "10.0.0.1:9099"', "$.firebase.emulator", "loopback"),
    ('[firebase]\nproject_id = "x"\nemulator = "9099"', "$.firebase.emulator", "host:port"),
    (SMALLEST + '[firebase.endpoints]\nsecure_token = "http://token.example"', "endpoints.secure_token", "use https"),
    (SMALLEST + '[firebase.endpoints]\nsecure_token = "ftp://x"', "$.firebase.endpoints.secure_token", "http://"),
    (SMALLEST + '[network]\npreset = "strickt"', "$.network.preset", "one of off, monitor, relaxed, strict, pinned"),
    (SMALLEST + '[log]\ndecisions = "xml"', "$.log.decisions", "one of json, text, off"),
    (SMALLEST + '[listen]\npublic = "localhost"', "$.listen.public", "host:port"),
    (SMALLEST + '[listen]\npublic = "127.0.0.1:70000"', "$.listen.public", "host:port"),
    (SMALLEST + '[listen]\ntrusted_proxies = ["10.0.0.1/8"]', "$.listen.trusted_proxies[0]", "host bits"),
    (SMALLEST + '[listen]\ntrusted_proxies = ["everyone"]', "$.listen.trusted_proxies[0]", "CIDR"),
    (SMALLEST + '[listen]\nprefix = "gateway"', "$.listen.prefix", "start and end with /"),
    (SMALLEST + '[listen]\nprefix = "/"', "$.listen.prefix", "start and end with /"),
    (SMALLEST + '[listen]\nworker = "/worker"', "$.listen.worker", ".js"),
    (SMALLEST + '[login]\nhome = "//evil.test"', "$.login.home", "path of this site"),
    (SMALLEST + "[login]\nhome = '/\\evil.test'", "$.login.home", "path of this site"),
    (SMALLEST + '[login]\nreturn_to = ["https://x"]', "$.login.return_to[0]", "start with /"),
    (SMALLEST + '[revocation]\nmax_staleness = "1ms"', "$.revocation.max_staleness", "less than"),
    ('[firebase]\nproject_id = "x"', "$.upstream", "names no backend"),
    (SMALLEST.split("[[route]]", maxsplit=1)[0], "$.route", "names no route"),
    (SMALLEST.replace("urls = [", "urls = [] # "), "$.upstream[0].urls", "no address"),
    (SMALLEST.replace(":3000", ":3000/app"), "$.upstream[0].urls[0]", "holds a path"),
    (SMALLEST.replace("127.0.0.1:3000", "169.254.169.254"), "$.upstream[0].urls[0]", "metadata"),
    (SMALLEST.replace("http://", "http://user:pw@"), "$.upstream[0].urls[0]", "user name"),
    (SMALLEST + '[[upstream]]\nname = "app"\nurls = ["http://b"]', "$.upstream[1].name", "twice"),
    (SMALLEST + 'upstream = "ap"', "$.route[0].upstream", "known: app"),
    (SMALLEST.replace("/**", "app/**"), "$.route[0].match", "starts with /"),
    (SMALLEST.replace("/**", "/a/**/b"), "$.route[0].match", "last segment"),
    (SMALLEST + '[[route]]\nmatch = { path = "/x" }\nname = "route-1"', "$.route[1].name", "twice"),
    (SMALLEST.replace('"/**" }', '"/**", methods = ["get"] }'), "$.route[0].match.methods", "capitals"),
    (SMALLEST.replace('"/**" }', '"/**", host = "x" }'), "$.route[0].match.host", "did you mean hosts?"),
    (SMALLEST + 'auth = "maybe"', "$.route[0].auth", "one of public, optional, required"),
    (SMALLEST + '[login]\ntitle = "${env:NOWHERE}"', "$.login.title", "no NOWHERE"),
    (SMALLEST + '[login]\ntitle = "${file:nowhere}"', "$.login.title", "cannot be read"),
    (SMALLEST + '[login]\ntitle = "a ${env:HOME}"', "$.login.title", "whole value"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "where", "telling"), MISTAKES)
def test_mistakes_are_told_with_place_and_remedy(tmp_path: Path, text: str, where: str, telling: str) -> None:
    """... says where a mistake is, what it is and what to try."""
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), environment={})
    assert caught.value.where.endswith(where)
    assert telling in f"{caught.value.what} {caught.value.hint}"
    assert caught.value.hint or "such as" in caught.value.what, "no mistake without a remedy"


@pytest.mark.parametrize(
    ("environment", "where"),
    [
        ({"GATEWAY__LISTEN__PUBLICK": "x"}, "GATEWAY__LISTEN__PUBLICK"),
        ({"GATEWAY__NOTHING": "x"}, "GATEWAY__NOTHING"),
        ({"GATEWAY__LISTEN__TRUSTED_PROXIES": "10.0.0.0/8"}, "GATEWAY__LISTEN__TRUSTED_PROXIES"),
        ({"FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:9099"}, "FIREBASE_AUTH_EMULATOR_HOST"),
    ],
)
def test_mistakes_in_the_environment(tmp_path: Path, environment: dict[str, str], where: str) -> None:
    """... names the environment variable that cannot be used, the emulator's dangerous one included."""
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, SMALLEST), environment=environment)
    assert caught.value.where == where


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """... says that there is no such file."""
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "nowhere.toml", environment={})


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    """... says that a directory or binary file is no configuration."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, environment={})
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "x.toml", environment={})


def test_lists_of_tables_are_not_set_by_the_environment(tmp_path: Path) -> None:
    """... refuses to merge an environment variable into a list of tables."""
    with pytest.raises(ConfigError):
        load(write(tmp_path, SMALLEST), environment={"GATEWAY__ROUTE__AUTH": "public"})


def test_with_an_emulator_the_dangerous_variable_is_harmless(tmp_path: Path) -> None:
    """... lets a development set-up share the variable that other tools need."""
    text = SMALLEST.replace("[[upstream]]", 'emulator = "127.0.0.1:9099"\n[[upstream]]', 1)
    loaded = load(write(tmp_path, text), environment={"FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:9099"})
    assert loaded.config.firebase.emulator == "127.0.0.1:9099"


def test_values_from_python_use_the_same_dialect() -> None:
    """... takes a whole configuration from Python objects."""
    tree: dict[str, Any] = {
        "firebase": {"project_id": "acme"},
        "upstream": [{"name": "app", "urls": ["http://127.0.0.1:1"]}],
        "route": [{"match": {"path": "/**"}, "network": {"preset": "strict"}}],
    }
    config = load(None, environment={}, overrides=tree).config
    assert config.route[0].network is not None
    assert config.route[0].network.preset is Preset.STRICT


def test_it_knows_what_it_was_read_from(tmp_path: Path) -> None:
    """... names the files whose change means another configuration."""
    (tmp_path / "key").write_text("0123456789abcdef")
    file = tmp_path / "gateway.toml"
    file.write_text(
        '[firebase]\nproject_id = "acme"\n[network]\nclaim_key = "${file:key}"\n'
        '[[upstream]]\nname = "a"\nurls = ["http://127.0.0.1:1"]\n[[route]]\nmatch = { path = "/**" }\n'
    )
    assert load(file, environment={}).files == (file, tmp_path / "key")


def test_numbers_come_from_the_environment(tmp_path: Path) -> None:
    """... reads a number from a variable, and says so when it is none."""
    file = tmp_path / "gateway.toml"
    file.write_text(
        '[firebase]\nproject_id = "acme"\n'
        '[[upstream]]\nname = "a"\nurls = ["http://127.0.0.1:1"]\n[[route]]\nmatch = { path = "/**" }\n'
    )
    assert load(file, environment={"GATEWAY__LISTEN__WORKERS": "4"}).config.listen.workers == 4
    with pytest.raises(ConfigError, match="GATEWAY__LISTEN__WORKERS"):
        load(file, environment={"GATEWAY__LISTEN__WORKERS": "many"})
    tls = {"GATEWAY__LISTEN__TLS__CERT_FILE": "cert.pem", "GATEWAY__LISTEN__TLS__MIN_VERSION": "1.3"}
    found = load(file, environment=tls).config.listen.tls
    assert found is not None
    assert (found.cert_file, found.min_version) == ("cert.pem", "1.3")
