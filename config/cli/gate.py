"""``auscult gate``: whether a version meets a policy, for a deployment pipeline."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from config.cli.files import BadInputCommand
from config.cli.telling import json_option

if TYPE_CHECKING:
    from governance.policies.findings import GateFindings
    from models_registry.models import ModelVersion

LEAST_DIGEST = 12


@click.command(cls=BadInputCommand)
@click.option("--version", "given", required=True, help="SYSTEM/LABEL, or at least 12 characters of the digest.")
@click.option("--policy", "name", required=True, help="Name of a policy in force.")
@click.option("--site", default="", help="Site where it is to be deployed, for policies that ask at each site.")
@json_option
@click.option("--record", is_flag=True, help="Enter the result in the ledger; needs --by.")
@click.option("--by", "username", envvar="AUSCULT_USER", help="User on whose behalf it is recorded.")
def gate(given: str, name: str, site: str, as_json: bool, record: bool, username: str | None) -> None:
    """Hold a version against a policy.

    Exit codes: 0 pass; 1 fail; 2 not enough evidence (missing, stale or insufficient); 3 bad input. A pipeline that
    stops on every code but 0 is safe.
    """
    from config.cli import acting_user, open_installation
    from core.errors import AuscultError, ConflictError

    if record and not username:
        raise AuscultError("--record needs to know who asks.", remedy="Add --by USER.")
    open_installation()
    from governance.policies.findings import EXIT
    from governance.selectors.policies import gate as hold_against
    from governance.selectors.policies import policy_called, rules_of
    from governance.services.policies import record_gate

    version, policy = find_version(given), policy_called(name)
    if not rules_of(policy).applies(version.system.slug):
        raise ConflictError(
            f"{policy} does not apply to {version.system.name}.",
            remedy="Choose a policy that applies to it: auscult policy list.",
        )
    found = hold_against(version, policy, site=" ".join(site.split()))
    if record and username:
        record_gate(findings=found, version=version, by=acting_user(username))
    if as_json:
        click.echo(json.dumps(found.to_dict(), ensure_ascii=False))
    else:
        show(found)
    sys.exit(EXIT[found.outcome])


def find_version(given: str) -> ModelVersion:
    """The version that is named by its system's short name and its label, or by the beginning of its digest.

    Raises:
        NotFoundError: there is none.
        ConflictError: the digest is of several.
    """
    from core.errors import ConflictError, NotFoundError
    from models_registry.models import ModelVersion

    rows = ModelVersion.objects.select_related("system")
    system, slash, label = given.partition("/")
    if slash:
        found = rows.filter(system__slug=system, label=label).first()
        if found is None:
            known = list(rows.filter(system__slug=system).values_list("label", flat=True)[:10])
            remedy = f"Its versions: {', '.join(known)}." if known else "The page of the system shows its short name."
            raise NotFoundError(f"There is no version '{label}' of a system '{system}'.", remedy=remedy)
        return found
    if len(given) < LEAST_DIGEST or not set(given.lower()) <= set("0123456789abcdef"):
        raise NotFoundError(
            f"'{given}' is neither SYSTEM/LABEL nor at least {LEAST_DIGEST} characters of a digest.",
            remedy="Write, for example, --version chest-model/1.0.",
        )
    several = list(rows.filter(digest__startswith=given.lower())[:2])
    if not several:
        raise NotFoundError(f"There is no version whose digest begins with {given}.", remedy="Write SYSTEM/LABEL.")
    if len(several) > 1:
        raise ConflictError(f"The digest {given} is of {several[0]} and of {several[1]}.", remedy="Write SYSTEM/LABEL.")
    return several[0]


def show(found: GateFindings) -> None:
    """The table, and the verdict under it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from core.models import Role
    from governance.policies.words import moment

    # A pipeline's log has no width of its own: rich would fold it at 80 columns.
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=160)
    table = Table(
        title=escape(f"{found.system}/{found.version} by {found.policy} no. {found.number}"), title_justify="left"
    )
    for heading in ("Item", "State", "What was found", "Who can mend it"):
        table.add_column(heading, overflow="fold")
    for item in found.items:
        who = ", ".join(Role(role).label for role in item.who)
        told = f"{item.statement} {item.remedy}".strip()
        table.add_row(escape(item.item), str(item.state), escape(told), who)
    console.print(table)
    words = {"pass": "Pass", "fail": "Fail", "insufficient": "Not enough evidence"}
    if gaps := len(found.accepted_items):
        console.print(f"{gaps} gap{'s' * (gaps > 1)} in the evidence, which a named person accepts.")
    console.print(f"{words[found.outcome]}, as of {moment(found.as_of)}.")
    if found.expires_at:
        console.print(f"The first item that is met stops being so on {moment(found.expires_at)}.")
