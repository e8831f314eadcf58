"""What committees keep: reviews, risks, incidents, statements, documents, grants, notes, orders of patients."""

from __future__ import annotations

from typing import Any

from benchmarks.web_house import DIGEST, House
from benchmarks.web_rows import among, multiply

COMMENTS_OF_THE_LARGEST = 200
PAST, FUTURE = "2026-01-01 00:00Z", "2031-01-01 00:00Z"


def fill(house: House) -> None:
    """Everything that hangs on versions and systems."""
    reviews = _reviews(house)
    _risks(house)
    _incidents(house)
    _regulation(house)
    _documents(house, reviews)
    _people(house)
    _patients(house)


def _keys(model: Any, **chosen: Any) -> list[int]:
    return list(model._default_manager.filter(**chosen).order_by("pk").values_list("pk", flat=True))


def _reviews(house: House) -> list[int]:
    """Two reviews of each version, one in ten is open; one has a long discussion."""
    from governance.models import Comment, Condition, Policy, Recusal, Review, Vote
    from models_registry.models import ModelVersion

    opened, decided = (Review.objects.filter(status=status).earliest("pk") for status in ("open", "approved"))
    versions = _keys(ModelVersion, status="in_review", reviews=None)
    made = multiply(Review, len(versions), [opened.pk], version_id=among(versions), run_id=among(house.runs))
    made += multiply(Review, 2 * len(house.versions), [decided.pk], version_id=among(house.versions),
                     run_id=among(house.runs), opened_at="now() - g.n * interval '11 hours'")  # fmt: skip
    votes = _keys(Vote, review=decided)
    multiply(Vote, 2 * len(made), votes, review_id=among(made, "g.n / 2"))
    note = Comment.objects.create(review=opened, author=decided.opened_by, text="What of those over 80? " * 6)
    multiply(Comment, 3 * len(made), [note.pk], review_id=among(made), author_id=among(house.people))
    multiply(Comment, house.sizes.share(COMMENTS_OF_THE_LARGEST), [note.pk], author_id=among(house.people))
    condition = _keys(Condition)[:1]
    multiply(Condition, len(made), condition, review_id=among(made), owner_id=among(house.people[:9]),
             status="(ARRAY['met','open','claimed','ended','met','met','met','lapsed'])[1 + g.n % 8]",
             due_at="now() + (g.n % 300 - 200) * interval '1 day'", confirmed_by_id=str(house.people[-1]))  # fmt: skip
    away = Recusal.objects.create(review=opened, person_id=house.people[-1], reason="A patent.",
                                  recorded_by_id=house.people[-1])  # fmt: skip
    multiply(Recusal, len(made) // 3, [away.pk], review_id=among(made), person_id=among(house.people))
    policy = _keys(Policy, status="approved")
    for name in range(6):
        multiply(Policy, 8, policy, name=f"'policy-{name}'", number="1 + g.n", status="'superseded'",
                 digest=DIGEST.format(f"policy {name}"))  # fmt: skip
    return [opened.pk, decided.pk, *made]


def _risks(house: House) -> None:
    from governance.models import Control, OversightMeasure, Risk, RiskAcceptance, RiskFinding, RiskRating

    risk = Risk.objects.filter(findings=None).earliest("pk")
    rated = list(RiskRating.objects.values_list("pk", flat=True)[:1])
    control = list(Control.objects.values_list("pk", flat=True)[:1])
    made = multiply(
        Risk, 20 * len(house.systems), [risk.pk], number="100 + g.n", finding_key="''", system_id=among(house.systems),
        owner_id=f"CASE WHEN g.n % 4 = 0 THEN NULL ELSE {among(house.people[:9])} END",
        status="(ARRAY['open','closed','open','accepted'])[1 + g.n % 4]",
    )  # fmt: skip
    made += multiply(Risk, house.sizes.share(200), [risk.pk], number="5000 + g.n", finding_key="''")
    multiply(RiskRating, 2 * len(made), rated, risk_id=among(made), stage="(ARRAY['before','after'])[1 + g.n % 2]")
    multiply(Control, 2 * len(made), control, risk_id=among(made), owner_id=among(house.people[:9]))
    finding = _keys(RiskFinding)[:1] or [_finding(risk, house)]
    multiply(RiskFinding, 3 * len(made), finding, risk_id=among(made), run_id=among(house.runs))
    one = RiskAcceptance.objects.create(
        risk=risk, severity=2, likelihood=2, rationale="It helps more.", accepted_by_id=house.people[0],
        owner_id=house.people[1], accepted_at=risk.opened_at, expires_at=risk.opened_at.replace(year=2031),
    )  # fmt: skip
    multiply(RiskAcceptance, len(made) // 4, [one.pk], risk_id=among(made[3::4]))
    measures = _keys(OversightMeasure)
    multiply(OversightMeasure, 5 * len(house.systems), measures, system_id=among(house.systems))


def _finding(risk: Any, house: House) -> int:
    from governance.models import RiskFinding

    found = RiskFinding.objects.create(risk=risk, run_id=house.runs[0], criterion="tpr-gap", n_failed=1,
                                       statement="Fails.", evidence_digest="0" * 64)  # fmt: skip
    return int(found.pk)


def _incidents(house: House) -> None:
    from governance.models import Incident, IncidentClock, IncidentEvent

    one = Incident.objects.earliest("pk")
    closed = "(ARRAY['closed','closed','closed','open','investigating'])[1 + g.n % 5]"
    made = multiply(Incident, house.sizes.share(300), [one.pk], number="1000 + g.n", system_id=among(house.systems),
                    version_id="NULL", status=closed, recorded_at="now() - g.n * interval '2 days'", root_cause="'C'",
                    correction="'D'", closed_at="now()")  # fmt: skip
    clocks, events = _keys(IncidentClock, incident=one), _keys(IncidentEvent, incident=one)
    multiply(IncidentClock, len(clocks) * len(made), clocks, incident_id=among(made, f"g.n / {max(1, len(clocks))}"),
             met_at="CASE WHEN g.n % 7 = 0 THEN NULL ELSE now() END")  # fmt: skip
    multiply(IncidentEvent, 6 * len(made), events, incident_id=among(made))
    multiply(IncidentEvent, house.sizes.share(200), events, incident_id=str(one.pk))


def _regulation(house: House) -> None:
    """Every system answered for; every requirement of the largest version stated, and of forty others, then stale."""
    from governance.dossier import gather_dossier
    from governance.models import Answer, Statement
    from governance.requirements import load_requirements
    from governance.standing.bindings import binding_of
    from models_registry.models import ModelVersion

    answers = _keys(Answer, system=house.systems[0])
    for system in house.systems[1:]:
        multiply(Answer, len(answers), answers, system_id=str(system))
    version = ModelVersion.objects.get(pk=house.versions[1])
    dossier, (author, by) = gather_dossier(version), house.people[:2]
    rows = [
        Statement(
            version=version, requirement=item.id, revision=1, status="accepted", author_id=author, decided_by_id=by,
            fields={one.name: f"{one.name} in words" for one in item.required_fields},
            text="As described in the technical file. " * 20, binding=binding_of(dossier, item), decided_at=PAST,
        )
        for item in load_requirements().requirements
    ]  # fmt: skip
    made = [row.pk for row in Statement.objects.bulk_create(rows)]
    for key in house.versions[10:50]:
        multiply(Statement, len(made), made, version_id=str(key))


def _documents(house: House, reviews: list[int]) -> None:
    from governance.models import Acceptance, Bundle, DownloadLink, Grant, Policy, Report

    report = _keys(Report, status="issued")
    multiply(Report, house.sizes.share(3_000), report, version_id=among(house.versions), run_id=among(house.runs),
             issued_at="now() - g.n * interval '3 hours'")  # fmt: skip
    bundles = _keys(Bundle)
    bundles += multiply(Bundle, house.sizes.share(400), bundles[:1], review_id=among(reviews),
                        issued_at="now() - g.n * interval '1 day'")  # fmt: skip
    grants = _keys(Grant)
    regulators = among([Grant.objects.get(pk=grants[0]).regulator_id, *house.people[-3:]])
    grants += multiply(Grant, 12, grants[:1], granted_at="now() - g.n * interval '9 days'", regulator_id=regulators)
    through = Grant.systems.through
    one = _keys(through)
    multiply(through, 5 * 12, one, grant_id=among(grants[-12:], "g.n / 5"), aisystem_id=among(house.systems, "g.n * 3"))
    link = DownloadLink.objects.create(grant_id=grants[0], bundle_id=bundles[0], token_digest="0" * 64,
                                       expires_at=FUTURE)  # fmt: skip
    multiply(DownloadLink, 100, [link.pk], token_digest=DIGEST.format("link"), bundle_id=among(bundles))
    policy = Policy.objects.filter(status="approved").earliest("pk")
    people = {"accepted_by_id": house.people[2], "submitter_id": house.people[0], "runner_id": house.people[1]}
    gap = Acceptance.objects.create(
        policy=policy, item="external", version_id=house.versions[1], run_id=house.runs[0], version_digest="0" * 64,
        evidence_digest="0" * 64, reason="Rare.", accepted_at=PAST, expires_at=FUTURE, **people,
    )  # fmt: skip
    multiply(Acceptance, 100, [gap.pk], version_id=among(house.versions), run_id=among(house.runs))


def _people(house: House) -> None:
    """What people were told: four hundred notes each, and two thousand unread ones of the busiest."""
    from core.models import ApiToken, Notification, OutgoingMail

    one = Notification.objects.create(recipient_id=house.people[0], topic="reviews", urgency="action", title="A vote",
                                      text="The audit is done.", href="/governance/", key="bench")  # fmt: skip
    each = house.sizes.share(400)
    for number, who in ((each * len(house.people), among(house.people)), (5 * each, str(house.people[2]))):
        multiply(Notification, number, [one.pk], recipient_id=who, key=f"'bench {number} ' || g.n",
                 created_at="now() - g.n * interval '5 minutes'",
                 read_at="CASE WHEN g.n % 3 = 0 THEN NULL ELSE now() END")  # fmt: skip
    mail = OutgoingMail.objects.create(address="a@site.example", subject="S", text="T", key="bench", mail="sent")
    multiply(OutgoingMail, house.sizes.share(5_000), [mail.pk], key="'bench ' || g.n",
             mail="CASE WHEN g.n % 200 = 0 THEN 'failed' ELSE 'sent' END")  # fmt: skip
    token = ApiToken.objects.create(user_id=house.people[0], name="PACS", scopes=["read"], token_digest="0" * 64,
                                    expires_at=FUTURE)  # fmt: skip
    multiply(ApiToken, 100, [token.pk], token_digest=DIGEST.format("token"), user_id=among(house.people))


def _patients(house: House) -> None:
    from evaluation.models import Verdict
    from governance.models import ReleaseVote, SyntheticRelease
    from models_registry.models import TrainingJob
    from synthetic.models import Generation, GeneratorTraining, Repair

    orders = _keys(Generation)
    made = multiply(Generation, house.sizes.share(200), orders, cohort_name="'Made ' || g.n",
                    status="(ARRAY['done','done','failed','cancelled'])[1 + g.n % 4]", error="''",
                    result_id=among(house.cohorts))  # fmt: skip
    multiply(Generation, 1, orders[:1], status="'running'", version_id=str(house.versions[0]), error="''")
    steps = [[step, 1 / (1 + step)] for step in range(200)]
    training = GeneratorTraining.objects.create(
        system_id=house.systems[0], version_label="g1", cohort_id=house.cohorts[0], status="running", progress=0.5,
        requested_by_id=house.people[0], curves={"tables.loss": steps, "image.loss": steps}, settings={"effort": 1},
    )  # fmt: skip
    multiply(GeneratorTraining, house.sizes.share(40), [training.pk], system_id=among(house.systems))
    verdict = Verdict.objects.filter(run=house.runs[0]).earliest("position")
    repair = Repair.objects.create(
        run_id=house.runs[0], criterion=verdict.criterion, metric="tpr_difference", label=verdict.label, patients=500,
        attribute=verdict.attribute, groups=["F", "M"], group="F", generator_id=house.versions[0], version_label="2.0",
        source_id=TrainingJob.objects.earliest("pk").pk, generation_id=made[0], requested_by_id=house.people[0],
    )  # fmt: skip
    multiply(Repair, house.sizes.share(40), [repair.pk], run_id=among(house.runs), status="'cancelled'")
    release = SyntheticRelease.objects.earliest("pk")
    decided = multiply(SyntheticRelease, house.sizes.share(60), [release.pk], cohort_id=among(house.cohorts[-200:]),
                       status="(ARRAY['rejected','withdrawn'])[1 + g.n % 2]")  # fmt: skip
    vote = ReleaseVote.objects.create(release=release, voter_id=house.people[5], choice="reject", rationale="Too near.",
                                      submitter=release.submitter, requester=release.requester)  # fmt: skip
    multiply(ReleaseVote, len(decided), [vote.pk], release_id=among(decided))
