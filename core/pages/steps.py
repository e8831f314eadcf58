"""Orders in steps: a page asks a little at a time, keeps what was said, and sends only what it has shown as a whole.

Nothing is kept on the server between the steps. What was typed travels in the page, and every step is checked again
each time; so a step can build its fields on the answers before it, and a tab left open for a day still works. Without
``at`` and ``go`` a request is read as one that gives every step at once, as a program would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms

from core.digests import sha256_json
from core.errors import AuscultError
from core.pages.forms import HouseForm
from core.pages.readers import HouseRequest

AT, GO, SEND = "at", "go", "send"


class StepForm(HouseForm):
    """One step. ``earlier`` holds what the steps before it said, cleaned."""

    def __init__(self, *args: Any, earlier: Mapping[str, Any], **kwargs: Any) -> None:
        self.earlier = earlier
        super().__init__(*args, **kwargs)

    def lines(self) -> list[tuple[str, str]]:
        """What was said, as pairs of label and words, for the check at the end."""
        told = [(self[name].label, field, self.cleaned_data.get(name)) for name, field in self.fields.items()]
        return [(str(label), _words(field, value)) for label, field, value in told if value not in (None, "", [], ())]


def _words(field: forms.Field, value: Any) -> str:
    """What was chosen, as the form called it."""
    if isinstance(field, forms.ModelChoiceField):
        return str(value)
    called = {str(key): str(word) for key, word in getattr(field, "choices", ())}
    chosen = value if isinstance(value, list | tuple) else [value]
    return ", ".join(called.get(str(item), str(item)) for item in chosen)


@dataclass(frozen=True, kw_only=True)
class Step:
    title: str
    form: type[StepForm]


class Steps:
    """Where somebody is in an order.

    Attributes:
        at: Number of the step that is shown; the number of steps where all is said and only sent is left.
        form: The step's form; at the end the last one, which then shows what the service refused.
        said: The forms of the steps before, checked.
        answers: What they say together, cleaned.
    """

    def __init__(self, steps: Sequence[Step], request: HouseRequest, **initial: Any) -> None:
        self.steps, self.initial, self.data = steps, initial, request.POST
        self.said: list[StepForm] = []
        self.answers: dict[str, Any] = {}
        self.at = 0
        if request.method == "POST":
            self._read()
        else:
            self.form = self._empty(0)

    @property
    def complete(self) -> bool:
        """Everything is said, and nothing of it is wrong."""
        return self.at == len(self.steps)

    @property
    def to_send(self) -> bool:
        """What is sent is what was shown."""
        return self.complete and self.data.get(SEND) == self.checked

    @property
    def checked(self) -> str:
        """Digest of everything that was said."""
        return sha256_json({name: self.data.getlist(name) for name in sorted(self._typed())})

    @property
    def carried(self) -> list[tuple[str, str]]:
        """What travels in the page besides the fields that are shown."""
        shown = set() if self.complete else set(self.form.fields)
        return [(name, value) for name in sorted(self._typed() - shown) for value in self.data.getlist(name)]

    @property
    def before(self) -> int:
        """The step before this one."""
        return max(0, self.at - 1)

    @property
    def trail(self) -> list[dict[str, Any]]:
        """Every step with its state: done, now, next; and the check at the end."""
        titles = [step.title for step in self.steps] + ["Check and send"]
        states = ["done" if n < self.at else "now" if n == self.at else "next" for n in range(len(titles))]
        return [{"title": title, "state": state} for title, state in zip(titles, states, strict=True)]

    @property
    def told(self) -> list[dict[str, Any]]:
        """What was said, step by step."""
        return [
            {"title": step.title, "number": number, "lines": form.lines()}
            for number, (step, form) in enumerate(zip(self.steps, self.said, strict=False))
        ]

    @property
    def status(self) -> int:
        return self.form.status

    def refuse(self, error: AuscultError) -> None:
        """Show why the service would not."""
        self.form.refusal = error

    def _read(self) -> None:
        last = self._number(AT, len(self.steps) - 1)
        back = self._number(GO, -1)
        for number, step in enumerate(self.steps):
            form = step.form(self.data, earlier=dict(self.answers))
            if number == back or number > last:
                self.at, self.form = number, self._kept(number) if number == back else self._empty(number)
                return
            self.at, self.form = number, form
            if not form.is_valid():
                return
            self.said.append(form)
            self.answers |= form.cleaned_data
        self.at = len(self.steps)

    def _number(self, name: str, default: int) -> int:
        text = str(self.data.get(name, ""))
        return min(int(text), len(self.steps)) if text.isascii() and text.isdigit() and len(text) < 4 else default

    def _empty(self, number: int) -> StepForm:
        """A step that is reached for the first time, or again with what was typed there before."""
        form = self.steps[number].form
        if any(name in self.data for name in form(earlier=dict(self.answers)).fields):
            return self._kept(number)
        return form(initial=self.initial, earlier=dict(self.answers))

    def _kept(self, number: int) -> StepForm:
        """A step with what was typed there, which nobody has to be told is wrong before he sends it again."""
        earlier, form = dict(self.answers), self.steps[number].form
        typed = {
            name: self.data.getlist(name) if isinstance(field, forms.MultipleChoiceField) else self.data.get(name, "")
            for name, field in form(earlier=earlier).fields.items()
        }
        return form(initial=self.initial | typed, earlier=earlier)

    def _typed(self) -> set[str]:
        """Names of everything that was typed, in whatever step."""
        return set(self.data) - {AT, GO, SEND, "csrfmiddlewaretoken"}
