"""What a model that writes is told of a study: prompts, their places, and their limits. Registers no adapter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models_registry.adapters.wishes import refusal
from models_registry.cohorts.schema import StudyBatch

QUESTION = "question"
KEYS: dict[str, type | tuple[type, ...]] = {
    "prompt": str,
    "question": str,
    "system": str,
    "format": str,
    "text_inputs": list,
    "required": list,
    "text_tokens": int,
    "generation": dict,
}
"""The keys of ``auscult.json`` that a model with a prompt knows."""
FORMATS = ("chat", "plain")
ANSWERS = ("text.reference", "text.generated")
PLACE = re.compile(r"\{(text\.[\w-]+|question)\}")


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The words that a study is put in.

    Attributes:
        report: Asks for the report. ``{text.indication}`` is the place of a study's text; a line whose text is
            missing is left out.
        question: Asks a question, at the place ``{question}``.
        system: What comes before everything in a chat; may be empty.
        plain: The prompt goes to the model as it stands, without the checkpoint's chat template.
        inputs: Texts of a study that are read, such as ``text.indication``.
        required: Those of them without which nothing is written.
        image: Whether a picture goes with it, which is then required too.
    """

    report: str
    question: str
    system: str = ""
    plain: bool = False
    inputs: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    image: bool = False
    text_tokens: int | None = None

    @classmethod
    def from_wishes(cls, wishes: Mapping[str, Any], *, image_sign: str | None, has_template: bool) -> Prompts:
        """Read and check the keys of a prompt.

        Args:
            image_sign: The word that stands for the picture; None for a model that sees none.
            has_template: Whether the checkpoint has a chat template.

        Raises:
            AdapterError: naming the key and the remedy.
        """
        plain = _is_plain(wishes, has_template)
        inputs = _inputs(wishes)
        if image_sign is None and not inputs:
            raise refusal(
                "text_inputs",
                "The model would read nothing of a study.",
                'Name the texts of a study that it reads, such as ["text.indication"], and give each its place in '
                "the prompt: {text.indication}.",
            )
        required = wishes.get("required", [] if image_sign is not None else list(inputs))
        for name in required:
            if name not in inputs and not (name == "image" and image_sign is not None):
                raise refusal("required", f"{name!r} is not read.", f"Use some of: {', '.join(inputs)}.")
        sign = f"{image_sign}\n" if plain and image_sign else ""
        lines = [f"{name.partition('.')[2].capitalize()}: {{{name}}}" for name in inputs]
        found = cls(
            report=wishes["prompt"],
            question=wishes.get("question", sign + "\n".join([*lines, "{question}"])),
            system=wishes.get("system", ""),
            plain=plain,
            inputs=inputs,
            required=tuple(name for name in required if name != "image"),
            image=image_sign is not None,
            text_tokens=wishes.get("text_tokens"),
        )
        found._check_places(image_sign if plain else None)
        return found

    @property
    def modalities(self) -> tuple[str, ...]:
        return (*(("image",) if self.image else ()), *self.inputs)

    @property
    def needed(self) -> tuple[str, ...]:
        return (*(("image",) if self.image else ()), *self.required)

    def _check_places(self, image_sign: str | None) -> None:
        for key, template in (("prompt", self.report), ("question", self.question)):
            places = set(PLACE.findall(template))
            allowed = {*self.inputs, *([QUESTION] if key == "question" else [])}
            for name in sorted(places - allowed):
                raise refusal(
                    key,
                    f"The place {{{name}}} is not known.",
                    f"Use places of: {', '.join(sorted(allowed)) or 'none'}.",
                )
            wanted = [QUESTION] if key == "question" else self.inputs
            for name in wanted:
                if name not in places:
                    raise refusal(key, f"The place {{{name}}} is missing.", f"Write {{{name}}} where it belongs.")
            if not template.strip():
                raise refusal(key, "The prompt is empty.", "Write what the model is asked for.")
            if image_sign and template.count(image_sign) != 1:
                raise refusal(
                    key,
                    f"The place of the picture, {image_sign}, is there {template.count(image_sign)} times.",
                    f"Write {image_sign} once, where the model expects the picture.",
                )

    def ready(self, batch: StudyBatch) -> list[int]:
        """The rows of the studies that have what is required, and anything to read at all."""
        return [row for row in range(len(batch)) if self._is_ready(batch, row)]

    def _is_ready(self, batch: StudyBatch, row: int) -> bool:
        if self.image:
            return batch.images[row] is not None and all(_text(batch, name, row) for name in self.required)
        given = [name for name in self.inputs if _text(batch, name, row)]
        return bool(given) and set(self.required) <= set(given)

    def fill(self, template: str, texts: Mapping[str, str]) -> str:
        """The template with the texts at their places, without the lines whose text is missing."""
        lines = []
        for line in template.split("\n"):
            if all(texts.get(name) for name in PLACE.findall(line)):
                lines.append(PLACE.sub(lambda place: texts[place.group(1)], line))
        return "\n".join(lines)

    def texts(self, batch: StudyBatch, row: int) -> dict[str, str]:
        """The texts of a study that are there."""
        found = {name: _text(batch, name, row) for name in self.inputs}
        return {name: text for name, text in found.items() if text}

    def messages(self, words: str) -> list[dict[str, Any]]:
        """A chat of one turn, in the form that chat templates take."""
        content: Any = [{"type": "image"}, {"type": "text", "text": words}] if self.image else words
        opening: Any = [{"type": "text", "text": self.system}] if self.image else self.system
        turns = [{"role": "system", "content": opening}] if self.system else []
        return [*turns, {"role": "user", "content": content}]

    def to_dict(self) -> dict[str, Any]:
        return {
            "prompt": self.report,
            "question": self.question,
            "system": self.system,
            "format": FORMATS[self.plain],
        }


def _text(batch: StudyBatch, name: str, row: int) -> str:
    column = batch.texts.get(name.partition(".")[2])
    return (column[row] or "").strip() if column else ""


def _is_plain(wishes: Mapping[str, Any], has_template: bool) -> bool:
    wanted = wishes.get("format", "chat")
    if wanted not in FORMATS:
        raise refusal("format", f"There is no format {wanted!r}.", f"Use one of: {', '.join(FORMATS)}.")
    if wanted == "chat" and not has_template:
        raise refusal(
            "format",
            "The checkpoint has no chat template, and no plain prompt was asked for.",
            'Add the model\'s chat_template.jinja to the folder, or write "format": "plain" and the whole prompt as '
            "the model was trained to read it.",
        )
    if wanted == "plain" and wishes.get("system"):
        raise refusal("system", "A plain prompt has no system turn.", "Write it into the prompt.")
    return bool(wanted == "plain")


def _inputs(wishes: Mapping[str, Any]) -> tuple[str, ...]:
    names = wishes.get("text_inputs", [])
    for name in names:
        if not isinstance(name, str) or not PLACE.fullmatch(f"{{{name}}}") or name == QUESTION:
            raise refusal("text_inputs", f"{name!r} is not the name of a text.", "Write names such as text.indication.")
        if name in ANSWERS:
            raise refusal(
                "text_inputs",
                f"{name} is what the model's text is compared with, or the text itself.",
                "Take it out; a text that is really given to the model belongs into a column of its own name.",
            )
    if len(set(names)) < len(names):
        raise refusal("text_inputs", "A text is named twice.", "Name each once.")
    return tuple(names)
