"""What a cohort is to the models that are judged on it. A policy asks for evidence on a role."""

from __future__ import annotations

from core import ledger
from core.access import check_role, same_person
from core.errors import ConflictError, DeniedError
from core.models import Role, User
from core.reach import service
from models_registry.models import Cohort, CohortRole, CohortVersion, ModelVersion

ASSIGNERS = (Role.AUDITOR, Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD)
ONE_SITE = (CohortRole.LOCAL,)
"""Roles that mean nothing without the site that the patients come from."""
MOST_SITE = 200


def check_may_assign_role(user: User, cohort: Cohort) -> None:
    """An auditor, a chair or a clinician lead who submitted no version that is audited on the cohort.

    Once an audit on it has ended only a chair may change the role, lest evidence is made to fit, or a failure put away.
    """
    check_role(user, *ASSIGNERS, to="say what a cohort is to the models that are judged on it")
    judged = ModelVersion.objects.filter(runs__cohort__cohort=cohort).select_related("submitted_by").distinct()
    for version in judged:
        if same_person(user, version.submitted_by):
            raise DeniedError(
                f"You submitted {version}, which is audited on this cohort, so you cannot say what it is.",
                remedy="Another auditor, chair or clinician lead has to.",
            )
    if cohort.role and _has_evidence(cohort):
        check_role(user, Role.COMMITTEE_CHAIR, to="change the role of a cohort on which audits have ended")


@service
def assign_cohort_role(*, cohort: Cohort, role: str, site: str, by: User) -> Cohort:
    """Say what a cohort is to models, and from which site its patients come; for all versions of it.

    Args:
        role: A value of :class:`CohortRole`.
        site: Empty where the patients come from several sites.

    Raises:
        DeniedError: ``by`` may not.
        ConflictError: there is no such role, the role needs a site, nothing would change, or somebody else changed it
            at this moment.
    """
    cohort = Cohort.objects.get(pk=cohort.pk)
    check_may_assign_role(by, cohort)
    site = " ".join(site.split())
    if role not in CohortRole.values:
        raise ConflictError(f"There is no cohort role '{role}'.", remedy=f"Use one of: {', '.join(CohortRole.values)}.")
    if len(site) > MOST_SITE or "\0" in site:
        raise ConflictError(
            f"The name of the site is longer than {MOST_SITE} characters or holds a NUL character.",
            remedy="Give its name as your institution writes it.",
        )
    if role in ONE_SITE and not site:
        raise ConflictError(
            "A cohort for local acceptance is of one site.", remedy="Name the site that its patients come from."
        )
    was = {"role": cohort.role, "site": cohort.site}
    if was == {"role": role, "site": site}:
        raise ConflictError(f"{cohort.name} has this role and site already.", remedy="Nothing is to be done.")
    if not Cohort.objects.filter(pk=cohort.pk, **was).update(role=role, site=site):
        raise ConflictError("Somebody else changed the role at this moment.", remedy="Reload the page to see it.")
    cohort.refresh_from_db()
    ledger.record(
        actor=by.username,
        act="cohort_role.assigned",
        subject=("Cohort", cohort.pk),
        payload={"cohort": cohort.slug, "role": role, "site": site, "before": was},
    )
    return cohort


def _has_evidence(cohort: Cohort) -> bool:
    return CohortVersion.objects.filter(cohort=cohort, runs__status="done").exists()
