"""The section on monitoring of a policy: how it is read, and what the gate finds by it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from governance.policies.describe import describe
from governance.policies.evaluate import evaluate
from governance.policies.findings import ItemFinding, State
from governance.policies.form import Policy, bundled_names, bundled_source
from governance.policies.monitoring import MonitoringRules, Reaction, WatchFact
from governance.policies.reading import PolicyError
from tests.governance.policy_scene import NOW, ago, facts, policy, policy_body, written

RULES = {"required": True, "max_silence_days": 14, "critical_breach": "suspend"}


def watch(place: str = "North Hospital", **given: Any) -> WatchFact:
    found: dict[str, Any] = {"started_at": ago(days=100), "monitors": 1, "watched_until": ago(days=3)}
    return WatchFact(place=place, **found | given)


def item(*watched: WatchFact, now: datetime = NOW, for_review: bool = False, **given: Any) -> ItemFinding | None:
    found = evaluate(policy(monitoring=RULES | given), facts(watched=watched), now=now, for_review=for_review)
    return next((one for one in found.items if one.item == "monitoring"), None)


def test_the_section_is_read_and_written_and_changes_the_digest() -> None:
    plain, watched = policy(), policy(monitoring=RULES)
    assert watched.monitoring == MonitoringRules(max_silence_days=14, critical_breach=Reaction.SUSPEND)
    assert Policy.from_dict(watched.to_dict()) == watched
    assert "monitoring" not in plain.to_dict(), "policies from before this section keep their digests"
    assert len({plain.digest, watched.digest, policy(monitoring={}).digest}) == 3
    assert policy(monitoring={}).monitoring == MonitoringRules()
    text = next(rule.text for rule in describe(watched, {}) if rule.title == "Monitoring")
    assert "ended within 14 days" in text and "suspends the deployment" in text


def test_what_is_wrong_in_the_section_is_told_with_its_line() -> None:
    wrong = {"required": "yes", "max_silence_days": 0, "critical_breach": "stop", "often": 1}
    with pytest.raises(PolicyError) as refusal:
        Policy.from_yaml(written(monitoring=wrong))
    lines = refusal.value.message.splitlines()
    assert len(lines) == 4 and all(line.startswith("Line ") for line in lines)
    for words in ("'yes'", "whole number from 1", "tell or incident or suspend or both", "unknown key 'often'"):
        assert any(words in line for line in lines), words
    with pytest.raises(PolicyError, match="mapping"):
        policy(monitoring="required")
    with pytest.raises(PolicyError, match="name of another part"):
        Policy.from_dict(policy_body({**policy_body()["audits"][0], "id": "monitoring"}))


def test_what_is_watched_and_heard_of_is_met_until_its_silence_is_too_long() -> None:
    found = item(watch(), watch("South Hospital", watched_until=ago(days=5)))
    assert found is not None and found.state == State.MET
    assert found.expires_at == ago(days=5) + timedelta(days=14)
    until = found.expires_at
    last = item(watch("South Hospital", watched_until=ago(days=5)), now=until)
    late = item(watch("South Hospital", watched_until=ago(days=5)), now=until + timedelta(seconds=1))
    assert last is not None and last.state == State.MET, "what is exactly as old counts still"
    assert late is not None and late.state == State.STALE
    assert "South Hospital: watched until" in late.statement and late.who == ("auditor",)


def test_what_runs_unwatched_is_missing_and_what_has_just_begun_has_time() -> None:
    found = item(watch(), watch("South Hospital", monitors=0, watched_until=None))
    assert found is not None and (found.state, "at South Hospital" in found.statement) == (State.MISSING, True)
    begun = item(watch(), watch("South Hospital", started_at=ago(days=2), monitors=0, watched_until=None))
    assert begun is not None and (begun.state, begun.expires_at) == (State.MET, ago(days=-5))
    assert "Not each of its 2 running deployments is watched" in begun.statement
    fresh = item(watch(started_at=ago(days=2), watched_until=None))
    assert fresh is not None and fresh.expires_at == ago(days=2) + timedelta(days=14)
    assert "no window judged yet" in fresh.statement
    # A replay of earlier data under a monitor that is older than the deployment is no silence before its start.
    replayed = item(watch(started_at=ago(days=1), watched_until=ago(days=40)))
    assert replayed is not None and replayed.state == State.MET
    silent = item(watch(started_at=ago(days=15), watched_until=None))
    assert silent is not None and silent.state == State.STALE


def test_it_is_asked_of_what_runs_alone() -> None:
    assert item() is None
    assert item(watch(monitors=0), required=False) is None
    assert item(watch(monitors=0), for_review=True) is None
    assert evaluate(policy(), facts(watched=(watch(monitors=0),)), now=NOW).items[0].item != "monitoring"


def test_the_bundled_policies_are_read() -> None:
    for name in bundled_names():
        assert Policy.from_yaml(bundled_source(name)).name == name
