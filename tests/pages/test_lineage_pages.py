"""Where a version comes from, what fell, and what it says of itself: on its page, its lineage, and as a file."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from models_registry.lineage_selectors import approvals_at_stake, whole_family
from models_registry.models import AISystem, ModelVersion, Origin, Relation
from models_registry.pages.lineage_drawing import HEIGHT, WIDTH, Line, Node, draw
from models_registry.services.lineage import record_origins
from tests.pages import scene
from tests.pages.lineage_scene import furnish, version_of
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]


@pytest.fixture
def family(house: SimpleNamespace) -> SimpleNamespace:
    return furnish(house.cohort, house.protocol)


def page_of(client: Client, version: ModelVersion, name: str = "version") -> str:
    url = reverse(name, args=[version.system.slug, version.pk])
    response = client.get(url)
    assert response.status_code == 200
    text = response.content.decode()
    page = Page(text)
    assert (page.faults, page.stack, page.tags["h1"], page.unnamed()) == ([], [], 1, [])
    assert [name for name, times in page.ids.items() if times > 1] == []
    return text


def test_a_void_version_says_why_first_and_links_to_the_cause(family: SimpleNamespace, sign_in: SignIn) -> None:
    head = family.heads[0]
    text = page_of(sign_in("amir"), head)
    assert "Its approval is void since" in text and "The backbone Chest backbone changed." in text
    assert head.backbone_digest[:12] in text and family.second.backbone_digest[:12] in text
    assert reverse("version", args=["chest-backbone", family.second.pk]) in text
    assert text.index("Its approval is void") < text.index("attention first") < text.index("What it declares")
    assert f"{reverse('audit-new')}?version={head.pk}" in text, "it cannot be audited again"


def test_a_version_under_review_says_that_the_review_cannot_approve_it(
    family: SimpleNamespace, sign_in: SignIn
) -> None:
    client = sign_in("mina")
    text = page_of(client, family.heads[2])
    assert "The open review cannot approve it any more" in text
    room = client.get(reverse("review", args=[family.barred.pk])).content.decode()
    assert "This version cannot be approved by this review." in room
    option = room[room.index('value="approve"') :].partition(">")[0]
    assert "disabled" in option
    vote = {"choice": "approve", "rationale": "The evidence passes, as far as it goes.", "password": scene.PASSWORD}
    refused = client.post(reverse("review", args=[family.barred.pk]), vote)
    assert refused.status_code == 403 and family.barred.votes.count() == 0


def test_the_card_is_shown_as_text(family: SimpleNamespace, sign_in: SignIn) -> None:
    text = page_of(sign_in("amir"), family.heads[0], "version-room-content")
    assert "bold-owl, chest" in text and "val_auroc" in text and "0.913" in text
    assert "Two hours on one GPU" in text and "AUROC 0.91 on MIMIC-CXR" in text
    assert "Apache-2.0" in text and "MIMIC-CXR" in text and "The card does not say" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "&lt;b&gt;Not bold.&lt;/b&gt;" in text
    assert "<script>alert" not in text and "<b>Not bold" not in text


def test_a_version_names_those_that_hold_its_weights(house: SimpleNamespace, sign_in: SignIn) -> None:
    one = version_of(scene.system("One"), "1", {"model.safetensors": "equal"})
    two = version_of(scene.system("Two"), "7", {"weights.safetensors": "equal"})
    record_origins(version=two, by=scene.person("elena"))
    for version, other in ((one, "Two, version 7"), (two, "One, version 1")):
        text = page_of(sign_in("amir"), version, "version-room-content")
        part = text.partition("Same weights in")[2].partition("</dd>")[0]
        assert other in part, version
    assert "Same weights in" not in page_of(sign_in("amir"), house.candidate, "version-room-content")


def test_files_have_sizes_and_what_changed_names_its_files(family: SimpleNamespace, sign_in: SignIn) -> None:
    text = page_of(sign_in("amir"), family.second, "version-room-content")
    change = text[text.index('id="change"') :]
    assert "backbone.safetensors</td><td>other content" in change
    assert "config.json</td>" not in change, "an equal file counts as changed"
    assert "20.0 kB" in text and "2 files, 31.0 kB" in text
    assert 'id="change"' not in page_of(sign_in("amir"), family.first, "version-room-content")


def test_how_fast_it_ran_comes_from_what_workers_measured(family: SimpleNamespace, sign_in: SignIn) -> None:
    text = page_of(sign_in("amir"), family.heads[0], "version-room-audits")
    part = text[text.index('id="version-throughput"') :]
    # 5,210 studies in two shares, in the 30 seconds between the first start and the last end.
    assert "5,210" in part and "174" in part and "812 MB" in part and "Example CPU" in part and "2 threads" in part
    assert "version-throughput" not in page_of(sign_in("amir"), family.second, "version-room-audits")


def test_the_lineage_shows_backbone_heads_cohorts_runs_and_what_fell(family: SimpleNamespace, sign_in: SignIn) -> None:
    for version in (family.first, family.heads[1]):
        text = page_of(sign_in("dora"), version, "lineage")
        picture = text[text.index("<svg class=") : text.index("Show as table")]
        for name in ("Chest findings", "Deterioration within 24 h", "Rare disease ranking", "Chest backbone"):
            assert name in picture
        assert "2 approvals are void because of Chest backbone 1.1." in picture
        assert picture.count("lineage__line--broken") == 2, "a line is broken for each approval that fell"
        assert picture.count("lineage__box--focal") == 1
        assert len(re.findall(r'href="/audits/\d+/"', picture)) == 3
        assert "Simulated chest cohort" in picture and "Approval void" in picture
        fallen = text[text.index('id="fallen"') : text.index('id="picture"')]
        assert fallen.count("The backbone Chest backbone changed.") == 3
        assert "Its open review cannot approve it any more." in fallen


def test_the_table_says_what_the_picture_draws(family: SimpleNamespace, sign_in: SignIn) -> None:
    text = page_of(sign_in("dora"), family.heads[0], "lineage")
    rows = text.count('data-label="Relation"')
    assert rows == text.count("lineage__line ") + text.count('lineage__line"')
    assert "built on" in text and "trained on" in text and "came after, with other weights" in text
    assert "equal weights" in text and "its card" in text
    assert "(the approval that rested on it is void)" in text


def test_a_version_whose_backbone_has_a_newer_one_says_so(family: SimpleNamespace, sign_in: SignIn) -> None:
    ModelVersion.objects.filter(pk=family.heads[0].pk).update(status="in_audit")
    text = page_of(sign_in("amir"), family.heads[0])
    assert "Its backbone has a newer version" in text and "Chest backbone 1.1" in text
    assert "Its approval is void" not in text


def test_a_version_of_unknown_origin_says_so(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = page_of(sign_in("amir"), house.candidate, "version-room-content")
    assert "Nothing is known of what it was made from" in text
    assert "No card was read when it was registered." in text
    assert "Nothing is known of what it was made from." in page_of(sign_in("amir"), house.candidate, "lineage")


def test_names_of_strangers_are_escaped_in_the_picture(house: SimpleNamespace, sign_in: SignIn) -> None:
    version = version_of(scene.system("Odd"), "<i>1</i>", {"model.safetensors": "x"})
    Origin.objects.create(
        version=version, relation=Relation.FINE_TUNED, source_name="<script>alert(2)</script>", told_by="its card"
    )
    text = page_of(sign_in("amir"), version, "lineage")
    assert "&lt;script&gt;alert(2)" in text and "<script>alert(2)" not in text and "<i>1</i>" not in text


def test_the_bill_of_materials_is_a_file_with_equal_bytes(family: SimpleNamespace, sign_in: SignIn) -> None:
    url = reverse("version-bom", args=["chest-findings", family.heads[0].pk])
    client = sign_in("amir")
    one, two = client.get(url), client.get(url)
    assert one.content == two.content
    assert one.headers["Content-Type"].startswith("application/vnd.cyclonedx+json")
    assert "attachment" in one.headers["Content-Disposition"] and ".cdx.json" in one.headers["Content-Disposition"]
    body = json.loads(one.content)
    assert (body["bomFormat"], body["specVersion"]) == ("CycloneDX", "1.6")


def test_a_large_family_is_cut_and_the_focal_version_stays(family: SimpleNamespace, sign_in: SignIn) -> None:
    system = AISystem.objects.get(slug="chest-backbone")
    ModelVersion.objects.bulk_create(
        ModelVersion(
            system=system,
            label=f"9.{number}",
            adapter="fusion",
            digest=f"{number:064x}",
            manifest={},
            backbone_digest=f"{number:064x}",
            submitted_by=scene.person("elena"),
        )
        for number in range(60)
    )
    found = whole_family(ModelVersion.objects.get(pk=family.heads[0].pk))
    assert len(found.versions) == 40 and found.hidden == 60 + 5 - 40
    assert family.heads[0].pk in {version.pk for version in found.versions}
    assert "25 versions are left out" in page_of(sign_in("amir"), family.heads[0], "lineage")


def test_what_a_new_backbone_would_void_is_known_beforehand(family: SimpleNamespace) -> None:
    system, head = AISystem.objects.get(slug="chest-backbone"), family.heads[0]
    ModelVersion.objects.filter(pk=head.pk).update(status="approved")
    assert approvals_at_stake(system, weights="f" * 64) == [head]
    assert approvals_at_stake(system, weights=family.second.backbone_digest) == []
    assert approvals_at_stake(system, weights="") == []
    assert approvals_at_stake(head.system, weights="f" * 64) == []


@pytest.mark.parametrize("name", ["version", "lineage"])
def test_more_heads_ask_no_more_questions(
    house: SimpleNamespace, sign_in: SignIn, name: str, django_assert_max_num_queries: object
) -> None:
    client, family = sign_in("amir"), furnish(house.cohort, house.protocol)
    url = reverse(name, args=["chest-backbone", family.first.pk])
    with django_assert_max_num_queries(25):  # type: ignore[operator]
        client.get(url)
    for number in range(8):
        files = {"backbone.safetensors": "one", "head.safetensors": f"further {number}"}
        version = version_of(scene.system(f"Further {number}"), "1", files)
        Origin.objects.create(
            version=version, relation=Relation.BACKBONE, source_version=family.first, told_by="equal weights"
        )
    with django_assert_max_num_queries(25):  # type: ignore[operator]
        client.get(url)


def nodes(*keys: str) -> list[Node]:
    return [Node(key=key, kind="version", title=key, detail="") for key in keys]


def test_boxes_never_overlap_and_stand_right_of_what_they_come_from() -> None:
    lines = [
        Line(source=source, target=target, relation="x")
        for source, target in [("a", "c"), ("b", "c"), ("c", "d"), ("c", "e"), ("a", "e"), ("late", "e")]
    ]
    drawing = draw(nodes("a", "b", "c", "d", "e", "late", "alone"), lines)
    place = {item.node.key: (item.x, item.y) for item in drawing.nodes}
    for line in lines:
        assert place[line.source][0] < place[line.target][0]
    assert place["late"][0] == place["c"][0], "a source stands just before what it leads to"
    corners = sorted(place.values())
    for (x, y), (to_x, to_y) in itertools.pairwise(corners):
        assert to_x >= x + WIDTH or (to_x == x and to_y >= y + HEIGHT)
    assert max(x for x, _ in corners) + WIDTH < drawing.width and max(y for _, y in corners) + HEIGHT < drawing.height


def test_a_circle_and_unknown_ends_do_no_harm() -> None:
    lines = [
        Line(source="a", target="b", relation="x"),
        Line(source="b", target="a", relation="x"),
        Line(source="a", target="a", relation="x"),
        Line(source="a", target="gone", relation="x"),
    ]
    drawing = draw(nodes("a", "b"), lines)
    assert len(drawing.nodes) == 2 and len(drawing.lines) == 3
    assert draw([], []).nodes == ()


def test_whoever_can_act_on_a_void_approval_finds_it_on_their_list(family: SimpleNamespace, sign_in: SignIn) -> None:
    auditor, chair, other = (sign_in(name).get("/").content.decode() for name in ("amir", "clara", "mina"))
    assert "Audit Chest findings 1.0 again, or have it retired" in auditor
    assert "The approval of Deterioration within 24 h 1.0 is void" in chair
    assert family.second.backbone_digest[:12] in chair and family.second.backbone_digest not in chair
    assert "is void" not in other


def test_what_was_issued_and_decided_says_that_the_approval_is_void(house: SimpleNamespace, sign_in: SignIn) -> None:
    """On the committee's page of the closed review, and beside the documents that were issued."""
    review, member = reverse("review", args=[house.decided.pk]), sign_in("mina")
    assert "Approval void" not in member.get("/reports/").content.decode()
    house.twin.status, house.twin.void_reason, house.twin.void_at = "void", "The backbone changed.", timezone.now()
    house.twin.save()
    assert member.get("/reports/").content.decode().count("Approval void") == 2
    text = member.get(review).content.decode()
    assert "This approval is void since" in text and "The backbone changed." in text
    assert Page(text).faults == []
