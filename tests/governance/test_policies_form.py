"""The written form of policies: read strictly, everything wrong told at once, equal when written again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from core.digests import sha256_bytes
from core.models import Role
from evaluation.engine.protocol import bundled_names as protocols
from governance.policies.describe import describe, difference
from governance.policies.form import REVIEWERS, WAIVERS, Policy, bundled_names, bundled_source
from governance.policies.reading import PolicyError
from models_registry.models import CohortRole
from tests.governance.policy_scene import audit_body, policy, policy_body, written

BUNDLED = Path(__file__).parents[2] / "governance/policies/bundled"

TEMPLATE = """\
name: chest-xray-use
title: Before a chest X-ray reader is used
applies_to: [chest-model, another-model]
review: {quorum: 3, required_roles: [clinician_lead]}
approval: required
audits:
  - id: fairness
    title: Fair to women and men on patients it has not seen
    protocols: [imaging-classifier-v1]
    cohort_role: external_test
    max_age_days: 365
    min_patients: 200
    simulated: refused
    sites: any
    insufficient: {accepted_by: [committee_chair], at_most_days: 90}
documents:
  - {report: annex_iv, ready: true, max_age_days: 365}
risks: acceptable
oversight: required
incidents: none_open
"""


def problems(text: str) -> list[str]:
    with pytest.raises(PolicyError) as refused:
        Policy.from_yaml(text, source="mine.yaml")
    assert refused.value.file == "mine.yaml" and refused.value.remedy
    return refused.value.message.splitlines()


def test_a_policy_is_read_with_its_defaults_and_read_back_equal() -> None:
    read = Policy.from_yaml(TEMPLATE)
    assert read.applies_to == ("another-model", "chest-model")
    assert read.applies("chest-model") and not read.applies("third-model") and not read.for_all
    (audit,) = read.audits
    assert audit.cohort_roles == ("external_test",) and audit.waiver and audit.waiver.at_most_days == 90
    assert (read.review.quorum, read.review.required_roles) == (3, ("clinician_lead",))
    assert read.approval and read.risks and read.oversight and read.incidents
    assert Policy.from_dict(read.to_dict()) == read
    short = policy()
    assert (short.review.quorum, short.documents, short.audits[0].waiver) == (2, (), None)
    assert short.for_all and short.applies("anything")


def test_the_digest_is_of_the_meaning_and_not_of_the_spelling() -> None:
    one = Policy.from_yaml(TEMPLATE)
    spelled = yaml.safe_dump(yaml.safe_load(TEMPLATE), sort_keys=True) + "# a comment\n"
    assert Policy.from_yaml(spelled).digest == one.digest
    # Canonical JSON, by hand, so that a change of the form that breaks recorded digests is seen.
    by_hand = (
        b'{"applies_to":"all","approval":"not_required","audits":[{"cohort_role":["external_test"],"id":"fairness",'
        b'"insufficient":"refused","max_age_days":365,"min_patients":200,"protocols":["imaging-classifier-v1"],'
        b'"simulated":"refused","sites":"any","title":"Fair to women and men"}],"auscult_policy":1,"documents":[],'
        b'"incidents":"not_asked","name":"chest-use","oversight":"not_asked","review":{"quorum":2,"required_roles":[]},'
        b'"risks":"not_asked","title":"Before a chest X-ray reader is used"}'
    )
    assert policy().digest == sha256_bytes(by_hand)


def test_every_problem_is_told_at_once_with_its_line() -> None:
    told = problems(
        "name: A b\nextra: 1\naudits:\n  - {id: approval, protocols: a, cohort_role: foo, max_age_days: 1.5,\n"
        "     simulated: yes, insufficient: {accepted_by: [ml_engineer]}}\n  - 5\n"
        "documents: [{report: nope, max_age_days: 0, ready: 1}]\nreview: {quorum: 1, required_roles: [auditor]}\n"
    )
    text = "\n".join(told)
    for words in (
        "missing: title, applies_to, approval, risks, oversight, incidents.",
        "Line 1, name: 'A b' is no short name",
        "Line 2, extra: unknown key 'extra'. Known here: name, title,",
        "Line 4, audits[0]: missing: title.",
        "Line 4, audits[0].id: 'approval' is the name of another part of a policy",
        "Line 4, audits[0].protocols: this is a list of 1 to 50 names of protocols.",
        "Line 4, audits[0].cohort_role: 'foo' is not known here. Use some of: training, tuning,",
        "Line 4, audits[0].max_age_days: this is a whole number from 1 to 3,650; 1.5 is none.",
        "Line 5, audits[0].simulated: true is not known here. Use refused or allowed.",
        "Line 5, audits[0].insufficient: missing: at_most_days.",
        "Line 5, audits[0].insufficient.accepted_by[0]: 'ml_engineer' is not known here.",
        "Line 6, audits[1]: this is a mapping of keys.",
        "Line 7, documents[0].report: 'nope' is not known here. Use annex_iv or",
        "Line 7, documents[0].max_age_days: this is a whole number",
        "Line 7, documents[0].ready: this is true or false; 1 is neither.",
        "Line 8, review.quorum: this is a whole number from 2 to 20; 1 is none.",
        "Line 8, review.required_roles[0]: 'auditor' is not known here.",
    ):
        assert words in text, words
    assert told == sorted(told, key=lambda line: int(line.split()[1].rstrip(",")) if line.startswith("Line") else 0)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (policy_body(audits=[]), "a policy without one asks for no evidence"),
        (policy_body(audit_body(), audit_body()), "'fairness' is given 2 times"),
        (policy_body(audit_body(id="document-x")), "the name of another part"),
        (policy_body(audit_body(protocols=["a", "a"])), "'a' is given 2 times"),
        (policy_body(audit_body(protocols=[])), "list of 1 to 50 names of protocols"),
        (policy_body(audit_body(cohort_role=[])), "list of 1 to 50 cohort roles"),
        (policy_body(audit_body(max_age_days=True)), "true is none"),
        (policy_body(audit_body(max_age_days=None)), "nothing is none"),
        (policy_body(audit_body(min_patients=-1)), "a whole number from 1"),
        (policy_body(audit_body(insufficient="accepted")), "this is the word refused, or the keys accepted_by"),
        (policy_body(audit_body(insufficient={"accepted_by": [], "at_most_days": 1})), "list of 1 to 50 roles"),
        (policy_body(applies_to="chest-model"), "the word all, or a list of short names"),
        (policy_body(applies_to=[]), "list of 1 to 200"),
        (policy_body(applies_to=["x", "x"]), "'x' is given 2 times"),
        (policy_body(title="<b>" + "x" * 200), "203 characters; 200 are the most"),
        (policy_body(title="a\x00b"), "control characters"),
        (policy_body(title="   "), "this is a text"),
        (policy_body(name="x" * 81), "80 are the most"),
        (policy_body(risks="yes"), "'yes' is not known here. Use acceptable or not_asked."),
        (policy_body(auscult_policy=2), "a whole number from 1 to 1"),
        (policy_body(review=[]), "this is a mapping of keys"),
        ([], "this is a mapping of keys"),
        (None, "this is a mapping of keys"),
    ],
)
def test_what_makes_no_sense_is_refused(body: Any, words: str) -> None:
    with pytest.raises(PolicyError) as refused:
        Policy.from_dict(body)
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [", "Line 1: this is not valid YAML"),
        ("name: a\nname: b\n", "Line 2: the key 'name' appears a second time."),
        ("name: &a x\ntitle: *a\n", "Anchors and aliases are not read."),
        ("a: " + "[" * 50_000, "nested too deeply"),
        ("- " * 3000 + "x", "nested too deeply"),
        ("x" * 64_001, "64,001 characters; at most 64,000"),
        ("", "this is a mapping of keys"),
        ("when: 2026-13-45", "is not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "is not valid YAML"),
    ],
)
def test_what_is_no_yaml_is_refused(text: str, words: str) -> None:
    assert words in "\n".join(problems(text))


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("latin-1")))
def test_no_text_crashes_the_reader(text: str) -> None:
    with pytest.raises(PolicyError):
        Policy.from_yaml(text)


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)


@given(st.sampled_from(sorted(policy_body())), VALUES, st.booleans())
def test_a_wrong_value_anywhere_is_a_problem_of_its_line_or_a_policy_that_reads_back(
    key: str, value: Any, inside: bool
) -> None:
    body = policy_body()
    if inside:
        body["audits"] = [audit_body(**{sorted(audit_body())[len(key) % 6]: value})]
    else:
        body[key] = value
    text = yaml.safe_dump(body, sort_keys=False)
    try:
        read = Policy.from_yaml(text)
    except PolicyError as error:
        assert all(line.startswith("Line ") for line in error.message.splitlines())
    else:
        assert Policy.from_dict(read.to_dict()).digest == read.digest


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5})?", fullmatch=True)
ROLES = st.lists(st.sampled_from([str(role) for role in WAIVERS]), min_size=1, unique=True)
AUDITS = st.fixed_dictionaries(
    {
        "id": NAMES.map(lambda name: f"a-{name}"),
        "title": st.sampled_from(["Fair", "Grün & <b>", "— 漢字"]),
        "protocols": st.lists(NAMES, min_size=1, max_size=3, unique=True),
        "cohort_role": st.lists(st.sampled_from(CohortRole.values), min_size=1, unique=True),
        "max_age_days": st.integers(1, 3650),
        "min_patients": st.integers(1, 10_000_000),
        "simulated": st.sampled_from(["refused", "allowed"]),
        "sites": st.sampled_from(["any", "each"]),
        "insufficient": st.just("refused")
        | st.fixed_dictionaries({"accepted_by": ROLES, "at_most_days": st.integers(1, 365)}),
    }
)
POLICIES = st.builds(
    lambda audits, slugs, roles, risks: policy_body(
        *audits,
        applies_to=slugs,
        review={"quorum": 2, "required_roles": roles},
        risks=risks,
        documents=[{"report": "dpia", "max_age_days": 30, "ready": False}],
    ),
    st.lists(AUDITS, min_size=1, max_size=3, unique_by=lambda item: item["id"]),
    st.just("all") | st.lists(NAMES, min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from([str(role) for role in REVIEWERS]), max_size=2, unique=True),
    st.sampled_from(["acceptable", "not_asked"]),
)


@given(POLICIES)
def test_every_policy_is_read_back_from_yaml_and_from_its_canonical_form(body: dict[str, Any]) -> None:
    read = Policy.from_yaml(yaml.safe_dump(body, allow_unicode=True))
    assert Policy.from_dict(read.to_dict()) == read
    assert Policy.from_yaml(yaml.safe_dump(read.to_dict())).digest == read.digest
    assert len(describe(read, {})) == 1 + read.approval + len(read.audits) + 1 + read.risks
    assert [change.kind for change in difference(read, read)] == ["gap"]


def test_the_bundled_policies_are_valid_and_name_what_there_is() -> None:
    assert set(bundled_names()) == {path.stem for path in BUNDLED.glob("*.yaml")}
    for name in bundled_names():
        read = Policy.from_yaml(bundled_source(name), source=name)
        assert read.name == name
        assert {item for audit in read.audits for item in audit.protocols} <= set(protocols())
    assert len({Policy.from_yaml(bundled_source(name)).digest for name in bundled_names()}) == len(bundled_names())
    strict = Policy.from_yaml(bundled_source("use-on-patients-v1"))
    assert not any(audit.simulated_allowed for audit in strict.audits) and strict.risks and strict.oversight
    with pytest.raises(PolicyError, match="There is no bundled policy called"):
        bundled_source("../x")


def test_a_difference_names_the_lines_that_changed() -> None:
    old, new = policy(), policy(audit_body(max_age_days=30))
    whole = difference(old, new)
    assert [change.kind for change in whole] == ["gap", *["same"] * 3, "removed", "added", *["same"] * 3, "gap"]
    changes = [change for change in whole if change.kind in ("added", "removed")]
    assert [(change.kind, change.text.strip()) for change in changes] == [
        ("removed", "max_age_days: 365"),
        ("added", "max_age_days: 30"),
    ]
    assert difference(None, new) == []


def test_every_rule_is_put_into_words() -> None:
    rules = describe(Policy.from_yaml(TEMPLATE), {"annex_iv": "Technical documentation"})
    told = {rule.title: rule.text for rule in rules}
    assert told["Review"] == "3 equal votes decide. Among those who approve is at least one clinician lead."
    assert told["Fair to women and men on patients it has not seen"] == (
        "An audit by imaging-classifier-v1 on a cohort with the role external test, of real patients, with at least "
        "200 patients, ended within 365 days. A committee chair may accept a lack of evidence for 90 days at most."
    )
    assert "within 365 days" in told["Technical documentation"]
    assert {"Approval", "Risks", "Human oversight", "Incidents"} <= set(told)


def test_no_role_that_makes_or_administers_may_accept_a_gap() -> None:
    assert not {Role.ML_ENGINEER, Role.ADMINISTRATOR, Role.REGULATOR} & {*WAIVERS, *REVIEWERS}
    assert written() == yaml.safe_dump(policy_body(), sort_keys=False)
