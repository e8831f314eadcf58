"""The forms of the review room: ballot, discussion, recusal, conditions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from core.models import User
from core.pages.forms import HouseForm
from core.pages.signing import SigningForm
from core.plain_text import MOST_TEXT
from governance.models import Vote
from governance.pages.ballots import Ballot, ReasonForm, closing_form

MOST_WORDS = 2_000
"""Characters of a condition: what needs more is no condition."""
WithdrawForm = closing_form("Why it is closed without a decision")
RecuseForm = closing_form("Your conflict of interest")


class PersonField(forms.ChoiceField):
    """One of the people that the form was given."""

    def offer(self, people: Iterable[User]) -> None:
        self.people = {str(person.pk): person for person in people}
        named = [(key, f"{person} ({person.username})") for key, person in self.people.items()]
        self.choices = [("", "Choose one"), *named]

    def clean(self, value: Any) -> User:
        return self.people[super().clean(value)]


class PeopleForm(HouseForm):
    """A form with a person to choose; ``people`` are those who can be chosen."""

    person_field = ""

    def __init__(self, *args: Any, people: Iterable[User] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[self.person_field].offer(people)  # type: ignore[attr-defined]


class VoteForm(SigningForm):
    choice = forms.ChoiceField(choices=Vote.Choice.choices, widget=Ballot, label="I vote to")
    rationale = forms.CharField(
        label="Your reason",
        widget=forms.Textarea(attrs={"rows": 5}),
        min_length=20,
        max_length=MOST_TEXT,
        help_text="At least 20 characters. It is kept with your name for as long as the version is on record.",
        error_messages={"min_length": "Give your reason in at least 20 characters: others must be able to follow it."},
    )


class CommentForm(HouseForm):
    text = forms.CharField(
        label="Your contribution",
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=MOST_TEXT,
        help_text="Plain text. It stays as it is, with your name. Never name a patient.",
        error_messages={"required": "Write your contribution."},
    )


class RecuseMemberForm(PeopleForm, ReasonForm):
    person_field = "person"
    person = PersonField(label="Who takes no part", error_messages={"required": "Choose who takes no part."})
    field_order = ("person", "reason")


class ConditionForm(PeopleForm):
    person_field = "owner"
    text = forms.CharField(
        label="What must be done",
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=MOST_WORDS,
        help_text="So that another person can check it.",
        error_messages={"required": "Write what must be done."},
    )
    owner = PersonField(label="Who sees to it", error_messages={"required": "A condition needs an owner."})
    due_at = forms.DateField(
        label="By the end of",
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="When this day passes first, the approval ends and the version is suspended.",
        error_messages={"required": "A condition needs a day.", "invalid": "Give the day as a date."},
    )

    def clean_due_at(self) -> datetime:
        day: date = self.cleaned_data["due_at"]
        return timezone.make_aware(datetime.combine(day, time.max) - timedelta(microseconds=999_999))


class ClaimForm(HouseForm):
    claim = forms.CharField(
        label="What was done",
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=MOST_TEXT,
        help_text="Say where it can be seen. Another person confirms it.",
        error_messages={"required": "Say what was done."},
    )


class ConfirmForm(SigningForm):
    remark = forms.CharField(
        label="What you checked",
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=MOST_TEXT,
        error_messages={"required": "Say what you checked."},
    )


class ReassignForm(PeopleForm):
    person_field = "owner"
    owner = PersonField(label="New owner", error_messages={"required": "Choose the new owner."})


ReturnForm = closing_form("What is still missing")
CONDITION_FORMS: dict[str, type[HouseForm]] = {
    "claim": ClaimForm,
    "confirm": ConfirmForm,
    "return": ReturnForm,
    "reassign": ReassignForm,
}
"""Each act on a condition that needs words, with its form."""
