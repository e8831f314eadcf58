"""What the pages of decisions share: the ballot, and the form that closes something with a reason."""

from __future__ import annotations

from typing import Any

from django import forms

from core.pages.forms import HouseForm
from core.plain_text import MOST_TEXT


class Ballot(forms.RadioSelect):
    """The two votes; one that the evidence rules out is shown and cannot be chosen. The service checks again."""

    ruled_out: frozenset[str] = frozenset()

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *args, **kwargs)
        if str(value) in self.ruled_out:
            option["attrs"]["disabled"] = True
        return option


class ReasonForm(HouseForm):
    """One reason, of at least ten characters."""

    reason = forms.CharField(
        label="Reason",
        widget=forms.Textarea(attrs={"rows": 3}),
        min_length=10,
        max_length=MOST_TEXT,
        error_messages={"required": "Give the reason.", "min_length": "Give the reason in at least 10 characters."},
    )


def closing_form(label: str) -> type[ReasonForm]:
    """A form that asks for a reason under this label."""

    class Closing(ReasonForm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.fields["reason"].label = label

    return Closing
