"""``gateway ip``: two addresses, or a week of the decision log; and the output that the page on networks shows."""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from gateway import reasons
from gateway.cli.ip import run_judge, run_replay
from gateway.cli.main import app
from gateway.core.claims import Claims, Principal
from gateway.core.decision import Allow, Conditions
from gateway.core.ports import DecisionEvent
from gateway.core.session import NetworkAction, NetworkLevel, Session
from gateway.errors import ConfigError
from gateway.observe.decisions import json_line
from gateway.policy.ip_change import Preset
from tests.house.tree import ROOT
from tests.support import geo

PAGE: Final = ROOT / "docs" / "reference" / "network.md"
CONSOLE: Final = re.compile(r"```console\n\$ (gateway ip .*)\n((?:.*\n)*?)```")
HOUR, DAY = 3600, 86_400
MIDNIGHT: Final = 1_799_971_200
"""A midnight in UTC. Which does not matter; the hours after it do."""

CONFIG: Final = """
[firebase]
project_id = "acme-prod"
[network]
asn_db = "asn.mmdb"
country_db = "country.mmdb"
hosting_list = "hosting.txt"
[[upstream]]
name = "app"
urls = ["http://127.0.0.1:3000"]
[[route]]
match = { path = "/**" }
"""

HOME, HOME_6, MOBILE, PARIS, VPN = "203.0.113.9", "2001:db8:1:2::9", "198.51.100.7", "192.0.2.1", "198.18.0.1"

WEEK: Final[dict[str, tuple[str | None, list[tuple[float, str]]]]] = {
    # who: the claim, and where they were after so many hours
    "stays": (HOME, [(hour, HOME) for hour in range(0, 160, 4)]),
    "both families": (HOME, [(hour, (HOME, HOME_6)[hour % 2]) for hour in range(0, 90, 3)]),
    "commutes": (HOME, [(hour, (HOME, MOBILE)[hour // 9 % 2]) for hour in range(0, 160, 3)]),
    "travels": (
        HOME,
        [(hour, HOME if hour < 50 or hour > 120 else PARIS) for hour in (*range(0, 48, 4), *range(60, 160, 5))],
    ),
    "turns a VPN on": (HOME, [(hour, HOME if hour < 30 else VPN) for hour in range(0, 60, 2)]),
    "no claim": (None, [(hour, MOBILE) for hour in range(0, 40, 4)]),
}


def week() -> str:
    """A week under `monitor`, as the gateway writes it."""
    lines = []
    for person, (claim, visits) in WEEK.items():
        claims = Claims(Principal("acme-prod", None, person), 0, 0, MIDNIGHT, None, False, None, None, None, claim, {})
        for hour, address in visits:
            client = ipaddress.ip_address(address)
            session = Session(claims, client, NetworkLevel.SAME, NetworkAction.LOG)
            decision = Allow(reasons.SESSION_VALID, "app", session, Conditions(0, 0, client, "app", 0))
            event = DecisionEvent(MIDNIGHT + hour * HOUR, "r", "GET", "h", "/", address, decision, 1)
            lines.append((event.at, json_line(event)))
    return "".join(line + "\n" for _, line in sorted(lines))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "gateway.toml").write_text(CONFIG)
    geo.asn_database(tmp_path / "asn.mmdb")
    geo.country_database(tmp_path / "country.mmdb")
    (tmp_path / "hosting.txt").write_text("AS64510\n")
    (tmp_path / "decisions.jsonl").write_text(week())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    return tmp_path


def shown() -> list[tuple[str, str]]:
    return CONSOLE.findall(PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("command", "output"), shown())
def test_the_page_on_networks_shows_real_output(
    command: str, output: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """... prints what docs/reference/network.md shows, run in a directory with the synthetic databases."""
    app(shlex.split(command)[1:], result_action="return_value")
    printed = "".join(line.rstrip() + "\n" for line in capsys.readouterr().out.splitlines())
    assert printed == output


def test_the_page_shows_both_commands() -> None:
    """... has an example of each command on its page, with a database and without."""
    commands = [command for command, _ in shown()]
    assert any("ip judge" in command and "--config" in command for command in commands)
    assert any("ip judge" in command and "--config" not in command for command in commands)
    assert any("ip replay" in command for command in commands)


def judge(
    sign_in: str, request: str, preset: Preset | None = None, *, idle: float = 1.0, config: Path | None = None
) -> int:
    return run_judge(sign_in, request, config=config, preset=preset, idle=idle)


@pytest.mark.parametrize(
    ("sign_in", "request_", "preset", "status"),
    [
        (HOME, "203.0.113.77", Preset.STRICT, 0),
        (HOME, "203.0.113.77", Preset.PINNED, 1),
        (HOME, PARIS, Preset.RELAXED, 1),
        (HOME, PARIS, Preset.MONITOR, 0),
        (HOME, PARIS, None, 0),
        ("", HOME, Preset.STRICT, 1),
        ("nonsense", HOME, Preset.RELAXED, 0),
    ],
)
def test_the_exit_status_is_the_presets_answer(sign_in: str, request_: str, preset: Preset | None, status: int) -> None:
    """... exits with 1 when the preset that was named refuses; a table of all of them is no question."""
    assert judge(sign_in, request_, preset) == status


@pytest.mark.parametrize(("idle", "level"), [(1.0, "suspicious"), (7.0, "travelled")])
def test_the_time_since_the_last_request_counts(
    idle: float, level: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """... judges a journey by the hours that it is given."""
    assert judge(HOME, PARIS, Preset.RELAXED, idle=idle, config=files / "gateway.toml") == 1
    assert level in capsys.readouterr().out


def test_addresses_are_told_apart(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... says what it knows of each address, and what it does not."""
    config = files / "gateway.toml"
    for sign_in, request in ((HOME, VPN), ("10.0.0.1", "8.8.8.8"), ("", MOBILE), ("nonsense", MOBILE)):
        judge(sign_in, request, config=config)
    printed = capsys.readouterr().out
    for text in (
        "203.0.113.0/24  AS64496 DE",
        "AS64510 NL hosting",
        "10.0.0.1  private",
        "not in the databases",
        "no claim",
        "'nonsense' is no address",
    ):
        assert text in printed


@pytest.mark.parametrize(
    "call",
    [
        lambda: judge(HOME, "nowhere"),
        lambda: run_replay(Path("nowhere"), config=None, preset=None, days=None),
    ],
)
def test_wrong_arguments_are_told(call: Callable[[], int]) -> None:
    """... says which argument cannot be used."""
    with pytest.raises(ConfigError):
        call()


def test_a_database_that_cannot_be_used_is_told(files: Path) -> None:
    """... does not try a policy with data that are not there."""
    (files / "asn.mmdb").write_bytes(b"broken")
    with pytest.raises(ConfigError, match=r"asn\.mmdb"):
        judge(HOME, MOBILE, config=files / "gateway.toml")


def replay(files: Path, preset: Preset | None = None, *, config: bool = True, days: float | None = None) -> None:
    path = files / "gateway.toml" if config else None
    assert run_replay(files / "decisions.jsonl", config=path, preset=preset, days=days) == 0


def test_a_replay_says_who_would_have_been_asked(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... counts people by pseudonym and the sign-ins that each preset would have cost them."""
    costs = {}
    for preset in Preset:
        replay(files, preset)
        found = re.search(r"Sign-ins asked for: (\d+), from (\d+) of (\d+) people", capsys.readouterr().out)
        assert found is not None
        costs[preset] = tuple(map(int, found.groups()))
    assert costs[Preset.OFF] == costs[Preset.MONITOR] == (0, 0, 6)
    assert costs[Preset.RELAXED] == (3, 2, 6)
    assert costs[Preset.STRICT] > costs[Preset.RELAXED]
    assert costs[Preset.PINNED] > costs[Preset.STRICT]


def test_without_a_database_the_same_week_costs_more(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... judges as the gateway would without a database, by relaxed unless told otherwise."""
    replay(files, config=False)
    printed = capsys.readouterr().out
    assert "judged by relaxed" in printed
    assert "moved" in printed


def test_only_the_last_days(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... counts days back from the log's end."""
    replay(files)
    whole = int(capsys.readouterr().out.split()[0])
    replay(files, days=1)
    assert 0 < int(capsys.readouterr().out.split()[0]) < whole / 3


def test_lines_of_other_things_are_passed_over(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... reads what it knows of a log, however old, and says when that is nothing."""
    other = ["", "plain text", "[]", "{}", "[" * 100_000, '{"event": "start"}', '{"event": "decision", "time": 1}']
    known = {"event": "decision", "time": 1, "principal": "p", "signed_in_at": True}
    (files / "decisions.jsonl").write_text("\n".join([*other, json.dumps(known)]))
    replay(files)
    assert "nothing to replay" in capsys.readouterr().out


def test_a_log_that_is_no_text_is_told(files: Path) -> None:
    """... says when a file cannot be a log."""
    (files / "decisions.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        run_replay(files / "decisions.jsonl", config=None, preset=None, days=None)
