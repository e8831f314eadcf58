"""Lists that are searched, filtered, sorted and paged by their address, so that what is seen can be shared.

A page says once, as a :class:`ListPlan`, what its list can be asked; :func:`read_list` takes the question from the
query string. Everything in an address is compared with the plan: no name of a field comes from outside, an order that
the plan does not name is left out, and nothing fits a choice that it does not name. It works without a script: a form
by GET, and links in the heads of the columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import BaseExpression
from django.utils.functional import Promise
from django.utils.translation import gettext

R = TypeVar("R")
MOST_LETTERS = 200
Text = str | Promise
"""Words that a page shows: at hand, or looked up in the reader's language when they are shown."""
Order = str | F | BaseExpression
"""What rows are ordered by: the name of a field, or an expression."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """The head of a column.

    Attributes:
        key: What the address calls it; empty where nobody sorts by it.
        order: What rows of the database are ordered by, the first counts most. Without a value comes last, either way.
        value: The same of rows that are no rows of the database; None without a value.
        down: Whether the first click gives the largest first, as for dates and counts.
        numeric: Whether its cells are numbers.
    """

    title: Text
    key: str = ""
    order: tuple[Order, ...] = ()
    value: Callable[[Any], Any] | None = None
    down: bool = False
    numeric: bool = False


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Something that a list is narrowed by.

    Attributes:
        every: The word for not narrowing.
        options: The values that an address may name, with their words; nothing fits any other value.
        field: The field that has the value, where ``keep`` does not say more.
        keep: Rows and value -> the rows that fit.
        usual: One of the options, which holds where an address names none; a list of work begins with what is open.
            Then there is no word for not narrowing: an option says it.
    """

    name: str
    title: Text
    options: tuple[tuple[str, Text], ...]
    every: Text = ""
    field: str = ""
    keep: Callable[[Any, str], Any] | None = None
    usual: str = ""


@dataclass(frozen=True, kw_only=True)
class ListPlan:
    """What a list can be asked.

    Attributes:
        sort: Key of a column that it is sorted by unless asked otherwise, ``-key`` for the largest first; empty to keep
            the order in which the rows come.
        search: Fields in which words are looked for; of rows that are none of the database, see ``text``.
        text: A row as one text in which words are looked for.
        searched: The label of the field of words.
        anchor: Name of the place on the page to which its links lead.
    """

    columns: tuple[Column, ...]
    sort: str = ""
    search: tuple[str, ...] = ()
    text: Callable[[Any], str] | None = None
    searched: Text = "Search"
    choices: tuple[Choice, ...] = ()
    size: int = 25
    anchor: str = ""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The head of a column as it is shown. ``aria`` is the value of ``aria-sort``; empty where nobody sorts by it."""

    title: Text
    href: str
    aria: str
    numeric: bool


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A choice with what was chosen."""

    name: str
    title: Text
    every: Text
    options: tuple[tuple[str, Text], ...]
    value: str
    usual: str = ""

    @property
    def narrows(self) -> bool:
        """Whether something else than usual was chosen."""
        return self.value != self.usual


@dataclass(frozen=True, kw_only=True)
class Listing(Generic[R]):
    """A list as it was asked for.

    Attributes:
        sort: As in the address; empty where the plan's own order holds.
        kept: What the address holds besides and links keep.
        rows: All that fit, on every page.
    """

    plan: ListPlan
    page: Page[Any]
    rows: Any
    words: str
    sort: str
    choices: tuple[Shown, ...]
    heads: tuple[Head, ...]
    sorts: tuple[tuple[str, str], ...]
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def filtered(self) -> bool:
        """Whether the list is narrowed."""
        return bool(self.words or any(item.narrows for item in self.choices))

    @property
    def begins_narrow(self) -> bool:
        """Whether it does not show everything where nothing is asked."""
        return any(item.usual for item in self.choices)

    @property
    def searchable(self) -> bool:
        return bool(self.plan.search or self.plan.text)

    @property
    def narrowing(self) -> dict[str, str]:
        """What narrows the list, for an address."""
        return dict(self.kept) | _asked(self.words, self.choices)

    @property
    def query(self) -> str:
        """The beginning of an address of another page of the same list."""
        return _beginning(self.narrowing | ({"sort": self.sort} if self.sort else {}))

    @property
    def told(self) -> str:
        """The address of a file of what the list shows, without its page."""
        return self.query.removesuffix("&")

    @property
    def hash(self) -> str:
        return f"#{self.plan.anchor}" if self.plan.anchor else ""

    @property
    def everything(self) -> str:
        """The address of the list without narrowing."""
        kept = dict(self.kept) | ({"sort": self.sort} if self.sort else {})
        return f"?{urlencode(kept)}{self.hash}"


def read_list(
    query: Mapping[str, str],
    rows: QuerySet[Any] | Sequence[R],
    plan: ListPlan,
    *,
    keep: Sequence[str] = (),
    count: Callable[[dict[str, str]], int | None] | None = None,
) -> Listing[R]:
    """A list as an address asks for it.

    Args:
        query: The query string, such as ``request.GET``.
        rows: Rows of the database, or a sequence of anything: then the plan's columns need ``value``, its choices
            ``keep`` and its search ``text``.
        keep: Names in the address that are the page's own and stay in every link.
        count: What the list is narrowed by, by name -> how many rows fit, where the page knows without asking.
    """
    words = plain(query.get("q", ""))[:MOST_LETTERS] if plan.search or plan.text else ""
    choices = tuple(_shown(choice, query.get(choice.name, "")) for choice in plan.choices)
    sort = query.get("sort", "")
    sort = sort if sort.removeprefix("-") in {column.key for column in plan.columns if column.key} else ""
    found = _searched(rows, plan, words)
    for choice, shown in zip(plan.choices, choices, strict=True):
        found = _narrowed(found, choice, shown.value) if shown.value else found
    found = _sorted(found, plan, sort or plan.sort)
    kept = {name: plain(query[name])[:MOST_LETTERS] for name in keep if query.get(name)}
    asked = {"q": words} | {item.name: item.value for item in choices}
    narrowing = kept | _asked(words, choices)
    return Listing(
        plan=plan,
        page=_Pages(found, plan.size, known=count(asked) if count else None).get_page(query.get("page")),
        rows=found,
        words=words,
        sort=sort,
        choices=choices,
        heads=tuple(_head(column, sort or plan.sort, narrowing, plan) for column in plan.columns),
        sorts=_sorts(plan),
        kept=kept,
    )


class _Pages(Paginator):
    """Pages of rows whose number may be known beforehand."""

    def __init__(self, rows: Any, size: int, *, known: int | None) -> None:
        super().__init__(rows, size)
        if known is not None:
            self.count = known


def plain(text: str) -> str:
    """Text of an address as a database takes it."""
    return text.replace("\0", "").strip()


def _beginning(asked: Mapping[str, str]) -> str:
    told = urlencode(asked)
    return f"{told}&" if told else ""


def _shown(choice: Choice, asked: str) -> Shown:
    value, options = plain(asked)[:MOST_LETTERS] or choice.usual, choice.options
    if value and value not in dict(options):
        options = (*options, (value, value))
    return Shown(
        name=choice.name, title=choice.title, every=choice.every, options=options, value=value, usual=choice.usual
    )


def _asked(words: str, choices: Sequence[Shown]) -> dict[str, str]:
    """What an address must hold to narrow a list so: what is usual is left out."""
    asked = {"q": words} | {item.name: item.value for item in choices if item.narrows}
    return {name: value for name, value in asked.items() if value}


def _searched(rows: Any, plan: ListPlan, words: str) -> Any:
    """The rows in which every word is found, each in any of the fields."""
    for word in words.split():
        if isinstance(rows, QuerySet):
            somewhere = Q()
            for name in plan.search:
                somewhere |= Q(**{f"{name}__icontains": word})
            rows = rows.filter(somewhere)
        elif plan.text is not None:
            rows = [row for row in rows if word.casefold() in plan.text(row).casefold()]
    return rows


def _narrowed(rows: Any, choice: Choice, value: str) -> Any:
    if value not in dict(choice.options):
        return rows.none() if isinstance(rows, QuerySet) else []
    return choice.keep(rows, value) if choice.keep else rows.filter(**{choice.field: value})


def _sorted(rows: Any, plan: ListPlan, sort: str) -> Any:
    column = next((item for item in plan.columns if item.key and item.key == sort.removeprefix("-")), None)
    if column is None:
        return rows
    down = sort.startswith("-")
    if isinstance(rows, QuerySet):
        ordered = [_ordered(rows, term, down) for term in column.order]
        return rows.order_by(*ordered, "-pk" if down else "pk")
    value: Callable[[Any], Any] = column.value or (lambda _: None)
    known = [row for row in rows if value(row) is not None]
    return sorted(known, key=value, reverse=down) + [row for row in rows if value(row) is None]


def _ordered(rows: QuerySet[Any], term: Order, down: bool) -> Any:
    """One term of an order. What always has a value is ordered plainly: an index has it in that order."""
    known = {field.name for field in rows.model._meta.fields if not field.null}
    if isinstance(term, str) and (term in known or term == "pk"):
        return f"-{term}" if down else term
    way = F(term) if isinstance(term, str) else term
    return way.desc(nulls_last=True) if down else way.asc(nulls_last=True)


def _head(column: Column, sort: str, narrowing: Mapping[str, str], plan: ListPlan) -> Head:
    if not column.key:
        return Head(title=column.title, href="", aria="", numeric=column.numeric)
    aria = {column.key: "ascending", f"-{column.key}": "descending"}.get(sort, "none")
    down = column.down if aria == "none" else aria == "ascending"
    told = urlencode(dict(narrowing) | {"sort": f"-{column.key}" if down else column.key})
    anchor = f"#{plan.anchor}" if plan.anchor else ""
    return Head(title=column.title, href=f"?{told}{anchor}", aria=aria, numeric=column.numeric)


def _sorts(plan: ListPlan) -> tuple[tuple[str, str], ...]:
    """Every order, for a choice where the heads of the columns are not seen: (value, words)."""
    found = []
    for column in plan.columns:
        if column.key:
            up, down = (
                (column.key, gettext("%(title)s, upwards") % {"title": column.title}),
                (f"-{column.key}", gettext("%(title)s, downwards") % {"title": column.title}),
            )
            found += [down, up] if column.down else [up, down]
    return tuple(found)
