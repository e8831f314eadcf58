"""The schema is current and valid, and every answer to whatever may be sent is one that it tells of."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.test import Client
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from config.api_schema import FILE, OPEN, openapi, text
from core.api.problems import KINDS
from core.models import ApiToken
from models_registry.models import VersionIntake
from synthetic.models import Generation, GeneratorTraining
from tests.api.program import Program
from tests.evaluation.monitor_scene import make_monitor
from tests.pages import scene

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 12
SCHEMA = schemathesis.openapi.from_dict(openapi())
OPERATIONS = {
    f"{method.upper()} {path}": (path, method) for path, methods in openapi()["paths"].items() for method in methods
}


@pytest.fixture(autouse=True)
def unhurried(settings: Any) -> None:
    settings.AUSCULT_API_RATE = 0


def test_the_committed_copy_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "python -m config.api_schema writes it"


def test_it_is_sent_to_whoever_asks(db: None) -> None:
    response = Client().get(OPEN)
    assert (response.status_code, response.json()) == (200, openapi())
    assert openapi()["openapi"].startswith("3.1.")
    SCHEMA.validate()


def test_every_operation_names_one_scope_and_every_scope_is_used() -> None:
    told = [openapi()["paths"][path][method] for path, method in OPERATIONS.values()]
    scopes = [item["security"] for item in told]
    assert all(len(item) == 1 and len(item[0]["token"]) == 1 for item in scopes)
    assert {item[0]["token"][0] for item in scopes} == set(ApiToken.Scope.values)
    assert all(item["description"] and item["summary"] and item["tags"] for item in told)
    assert len({item["operationId"] for item in told}) == len(told)


def known(house: SimpleNamespace) -> dict[str, list[Any]]:
    """What there is, by the beginning of the path."""
    return {
        "/api/v1/systems/{slug}": [house.system.slug],
        "/api/v1/versions": [house.version.pk],
        "/api/v1/cohorts/{slug}": [house.cohort.cohort.slug],
        "/api/v1/cohort-versions": [house.cohort.pk],
        "/api/v1/cohort-imports": [house.blocked.pk, house.ready.pk],
        "/api/v1/protocols": [house.protocol.pk],
        "/api/v1/audits": [house.fail.pk, house.running.pk],
        "/api/v1/reviews": [house.review.pk, house.decided.pk],
        "/api/v1/reports": [house.report.pk],
        "/api/v1/bundles": [house.bundle.pk],
        "/api/v1/monitors": [house.monitor.pk],
        "/api/v1/deployments": [house.monitor.deployment_id],
        "/api/v1/intakes": [row.pk for row in house.intakes],
        "/api/v1/synthetic/generators": [house.training.pk],
        "/api/v1/synthetic/patients": [house.order.pk],
    }


@pytest.fixture
def furnished(house: SimpleNamespace) -> SimpleNamespace:
    """The house with a monitor, versions on their way in, and orders of patients."""
    people = SimpleNamespace(**{name: scene.person(name) for name in scene.PEOPLE})
    house.monitor = make_monitor(people)
    facts = {"system": house.system, "adapter": "recorded", "kind": "upload", "created_by": people.elena}
    house.intakes = [
        VersionIntake.objects.create(label=f"i-{status}", status=status, **facts)
        for status in ("receiving", "ready", "failed")
    ]
    order = {"requested_by": people.elena, "settings": {"seed": 1}}
    house.training = GeneratorTraining.objects.create(
        system=house.system, version_label="g1", cohort=house.cohort, **order
    )
    house.order = Generation.objects.create(version=house.version, generator="linked", cohort_name="Made", **order)
    return house


IN_BODIES = {
    "system": "system",
    "version": "candidate",
    "cohort": "cohort",
    "protocol": "protocol",
    "review": "decided",
}
"""Fields of bodies that name something, and what there is of it."""


def with_what_there_is(body: Any, house: SimpleNamespace) -> Any:
    if not isinstance(body, dict):
        return body
    there = {name: getattr(house, of) for name, of in IN_BODIES.items() if name in body}
    return body | {name: row.slug if name == "system" else row.pk for name, row in there.items()}


@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_is_sent_the_answer_is_one_that_is_told_of(
    name: str, furnished: SimpleNamespace, program: Any, everybody: Any
) -> None:
    path, method = OPERATIONS[name]
    operation = SCHEMA[path][method]
    asking: Program = program(everybody)
    there = next((items for start, items in known(furnished).items() if path.startswith(start)), [])
    app = get_wsgi_application()

    @bounded(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
        case = data.draw(operation.as_strategy(generation_mode=mode))
        for field in ("slug", "pk"):
            if there and field in (case.path_parameters or {}) and data.draw(st.integers(0, 3)):
                case.path_parameters[field] = data.draw(st.sampled_from(there))
        if data.draw(st.booleans()):
            case.body = with_what_there_is(case.body, furnished)
        # The client of schemathesis asks for compressed answers and does not unpack them.
        response = case.call(app=app, headers=asking.headers | {"Accept-Encoding": "identity"})
        case.validate_response(response, checks=CHECKS)

    ask()


def test_nothing_private_is_in_the_schema() -> None:
    told = json.dumps(openapi())
    assert "/work" not in told and "localhost" not in told and openapi()["servers"] == [{"url": "/"}]


def test_every_kind_of_problem_is_explained() -> None:
    headings = re.findall(r"^### Errors: (.+)$", (FILE.parent / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {words.replace(" ", "-") for words in headings} == set(KINDS)


def test_every_scope_is_explained() -> None:
    told = (FILE.parent / "api.md").read_text(encoding="utf-8")
    assert all(f"| `{scope}` |" in told for scope in ApiToken.Scope.values)


def test_the_page_tells_every_operation(house: SimpleNamespace) -> None:
    for client in (Client(), Client()):
        told = client.get("/api/").content.decode()
        assert all(f"{method.upper()} {path}" in told for path, method in OPERATIONS.values())
        assert all(f'id="errors-{slug}"' in told for slug in KINDS) and "style=" not in told
        client.force_login(scene.person("clara"))
