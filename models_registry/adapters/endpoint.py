"""A model behind a chat-completions server (vLLM, TGI, Ollama) on the operator's network.

The registered folder holds ``auscult.json`` only. Its digest binds the address, the prompt and the settings; the
weights that answer there are bound by nothing, and everything that is shown says so.
"""

from __future__ import annotations

import base64
import io
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.digests import walk_files
from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, AdapterInfo, Capability, Draw, InferenceSettings, Predictions, Said
from models_registry.adapters.chat import HOSTS_VARIABLE, KEY_VARIABLE, ChatClient, Place, Reply, api_key
from models_registry.adapters.wishes import FILE, NUMBER, check_keys, read_wishes, refusal
from models_registry.cohorts.schema import StudyBatch

log = logging.getLogger(__name__)

KEYS: dict[str, Any] = {
    "url": str,
    "model": str,
    "system": str,
    "prompt": str,
    "image": bool,
    "text_inputs": list,
    "required": list,
    "generation": dict,
    "timeout_seconds": NUMBER,
    "retries": int,
    "concurrency": int,
    "api_key_variable": str,
}
GENERATION: dict[str, Any] = {"max_tokens": int, "temperature": NUMBER, "top_p": NUMBER, "seed": int}
LIMITS = {
    "timeout_seconds": (0.1, 600),
    "retries": (0, 8),
    "concurrency": (1, 64),
    "generation.max_tokens": (1, 32_768),
    "generation.temperature": (0, 2),
    "generation.top_p": (0, 1),
    "generation.seed": (0, 2**31 - 1),
}
DEFAULTS: dict[str, Any] = {"timeout_seconds": 60, "retries": 3, "concurrency": 4, "image": False, "text_inputs": []}
LONGEST_TEXT = 100_000
CUT_OFF = "length"
"""What a server says where a text ended at max_tokens."""
UNBOUND = (
    "The weights behind the endpoint are not bound by a digest: this version's digest covers the address, the prompt "
    "and the settings. Whoever runs the server can change the model without a trace here."
)


class EndpointFactory:
    """Checks and loads a folder with one ``auscult.json`` that names a server."""

    def inspect(self, folder: Path) -> AdapterInfo:
        """What the folder declares. The server is not asked.

        Raises:
            AdapterError: another file in the folder, a wish that is unknown or out of range, an address with
                credentials, a host that the operator did not list.
        """
        return _info(_wishes(folder))

    def load(self, folder: Path, *, settings: InferenceSettings, device: str = "cpu") -> EndpointAdapter:
        """An adapter that is ready to ask. ``device`` means nothing here: the server has its own.

        Raises:
            AdapterError: as :meth:`inspect`, and where the variable of the API key is not set.
        """
        wishes = _wishes(folder)
        client = ChatClient(
            place=Place.parse(wishes["url"]),
            key=api_key(wishes.get("api_key_variable")),
            timeout=float(wishes["timeout_seconds"]),
            retries=wishes["retries"],
        )
        return EndpointAdapter(info=_info(wishes), wishes=wishes, client=client, settings=settings)


class EndpointAdapter:
    """Writes reports and answers questions by asking the server: one request for each study.

    A request holds the system text, the prompt or question, the texts that were asked for and the picture: never an
    identifier, a covariate or a series.

    Attributes:
        usage: Sums since it was loaded: ``requests``, ``tries``, ``prompt_tokens``, ``completion_tokens`` as the
            server counted them, ``uncounted`` (answers without a count), ``cut_off`` (ended by max_tokens) and
            ``filtered`` (ended by the server's content filter).
        answered_by: The names of the models that answered, by the server's word.
        most_at_once: As many studies as are asked about at one time.
    """

    def __init__(
        self, *, info: AdapterInfo, wishes: dict[str, Any], client: ChatClient, settings: InferenceSettings
    ) -> None:
        self.info = info
        self.wishes = wishes
        self.client = client
        self.most_at_once = int(wishes["concurrency"])
        self.generation = {"max_tokens": 512, "temperature": 0, "seed": settings.seed} | wishes.get("generation", {})
        self.usage: Counter[str] = Counter()
        self.answered_by: set[str] = set()
        self._lock = threading.Lock()

    def predict(self, batch: StudyBatch) -> Predictions:
        """A report for each study; None where a required modality, or everything, is missing.

        Raises:
            TransientError: the server is busy or away, after the last retry.
            AdapterError: it refuses, or answers what is no chat completion.
        """
        found = self.say(batch, None)
        return Predictions(
            study_ids=batch.study_ids, texts={"generated": found.text}, truncated={"generated": found.truncated}
        )

    def answer(self, batch: StudyBatch, questions: Sequence[str]) -> npt.NDArray[np.object_]:
        """An answer to each study's question, which stands where the prompt stands in :meth:`predict`."""
        return self.say(batch, questions).text

    def say(self, batch: StudyBatch, questions: Sequence[str] | None, *, draw: Draw | None = None) -> Said:
        """A report of each study, or an answer to its question; cut off where the server stopped at its limit.

        Args:
            draw: The server is sent its temperature, and a seed of the turn's own.

        Raises:
            TransientError, AdapterError: as :meth:`predict`; not one question for each study.
        """
        prompts = [self.wishes["prompt"]] * len(batch) if questions is None else questions
        if len(prompts) != len(batch):
            raise AdapterError(
                f"There are {len(prompts)} questions for {len(batch)} studies.", remedy="Ask one of each study."
            )
        generation = self.generation
        if draw is not None:
            seed = (int(generation["seed"]) + 1 + draw.turn) % (LIMITS["generation.seed"][1] + 1)
            generation = generation | {"temperature": draw.temperature, "seed": seed}
        return self._ask(batch, prompts, generation)

    def _ask(self, batch: StudyBatch, prompts: Sequence[str], generation: dict[str, Any]) -> Said:
        found, cut = np.full(len(batch), None, dtype=object), np.zeros(len(batch), dtype=np.bool_)
        rows = [row for row in range(len(batch)) if self._can_answer(batch, row)]
        stopped = threading.Event()

        def one(row: int) -> Reply | None:
            if stopped.is_set():
                return None
            try:
                return self._complete(self._messages(batch, row, prompts[row]), generation)
            except BaseException:
                stopped.set()  # the share fails: what waits need not be asked
                raise

        with ThreadPoolExecutor(max_workers=self.wishes["concurrency"]) as pool:
            for row, reply in zip(rows, pool.map(one, rows), strict=True):
                if reply is not None:
                    found[row], cut[row] = reply.text, reply.finish == CUT_OFF
        log.info("asked %s for %s studies; so far %s", self.client.place.host, len(rows), dict(self.usage))
        return Said(text=found, truncated=cut)

    def _can_answer(self, batch: StudyBatch, row: int) -> bool:
        there = {name for name in self.info.modalities if _value(batch, name, row) is not None}
        return bool(there) and set(self.info.required) <= there

    def _messages(self, batch: StudyBatch, row: int, prompt: str) -> list[dict[str, Any]]:
        texts = [(name, _value(batch, name, row)) for name in self.info.modalities if name != "image"]
        told = [f"{name.removeprefix('text.').replace('_', ' ').capitalize()}:\n{text}" for name, text in texts if text]
        content: Any = "\n\n".join([prompt, *told])
        image = batch.images[row] if self.wishes["image"] else None
        if image is not None:
            picture = {"type": "image_url", "image_url": {"url": png_url(image)}}
            content = [{"type": "text", "text": content}, picture]
        system = [{"role": "system", "content": self.wishes["system"]}] if "system" in self.wishes else []
        return [*system, {"role": "user", "content": content}]

    def _complete(self, messages: list[dict[str, Any]], generation: dict[str, Any]) -> Reply:
        body = {"model": self.wishes["model"], "messages": messages, "stream": False, **generation}
        reply = self.client.complete(body)
        if len(reply.text) > LONGEST_TEXT:
            raise AdapterError(
                f"The server answered {len(reply.text):,} characters for one study.",
                remedy=f"Lower generation.max_tokens: more than {LONGEST_TEXT:,} characters are not kept.",
                file=FILE,
            )
        self._count(reply)
        return reply

    def _count(self, reply: Reply) -> None:
        counted = reply.prompt_tokens is not None and reply.completion_tokens is not None
        with self._lock:
            self.answered_by.add(reply.model)
            self.usage.update(
                requests=1,
                tries=reply.tries,
                prompt_tokens=reply.prompt_tokens or 0,
                completion_tokens=reply.completion_tokens or 0,
                uncounted=int(not counted),
                cut_off=int(reply.finish == CUT_OFF),
                filtered=int(reply.finish == "content_filter"),
            )


ADAPTERS.register("endpoint")(EndpointFactory())


def png_url(image: npt.NDArray[Any]) -> str:
    """A data URL with the picture as PNG, without loss: uint8 [H, W] or [H, W, 3]."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _value(batch: StudyBatch, modality: str, row: int) -> Any:
    """The study's value of a modality that this adapter reads; a blank text counts as missing."""
    if modality == "image":
        return batch.images[row]
    values = batch.texts.get(modality.removeprefix("text."))
    text = values[row] if values else None
    return text if text and text.strip() else None


def _wishes(folder: Path) -> dict[str, Any]:
    wishes = DEFAULTS | read_wishes(folder, KEYS, required=("url", "model", "prompt"), file_required=True)
    others = [path.relative_to(folder).as_posix() for path in walk_files(folder)]
    others.remove(FILE)
    if others:
        raise AdapterError(
            "The folder of an endpoint holds auscult.json only: a file that nothing reads would look like the model.",
            remedy="Register a folder of its own.",
            file=others[0],
        )
    check_keys(wishes.get("generation", {}), GENERATION, inside="generation")
    _check_values(wishes)
    _check_inputs(wishes)
    Place.parse(wishes["url"]).check_allowed()
    return wishes


def _check_values(wishes: dict[str, Any]) -> None:
    for key, (least, most) in LIMITS.items():
        group, _, name = key.rpartition(".")
        value = (wishes.get(group, {}) if group else wishes).get(name)
        if value is not None and not least <= value <= most:
            raise refusal(key, f"The value is {value}.", f"Write a number from {least} to {most}.")
    for key in ("model", "prompt"):
        if not wishes[key].strip():
            raise refusal(key, "The text is empty.", "Fill it in.")
    variable = wishes.get("api_key_variable")
    if variable is not None and not KEY_VARIABLE.fullmatch(variable):
        raise refusal(
            "api_key_variable",
            "This variable may not be sent to a server.",
            "Name one that begins with AUSCULT_ENDPOINT_KEY, for example AUSCULT_ENDPOINT_KEY_VLLM.",
        )


def _check_inputs(wishes: dict[str, Any]) -> None:
    texts = wishes["text_inputs"]
    _check_each("text_inputs", texts, lambda name: name.startswith("text.") and len(name) > len("text."))
    if "text.reference" in texts:
        raise refusal("text_inputs", "text.reference is what answers are judged by.", "Leave it out of the inputs.")
    inputs = _modalities(wishes)
    if not inputs:
        raise refusal("image", "The model would be given nothing of a study.", "Set image, or name text_inputs.")
    _check_each("required", wishes.get("required", []), lambda name: name in inputs)


def _check_each(key: str, names: list[Any], good: Callable[[str], bool]) -> None:
    for name in names:
        if not isinstance(name, str) or not good(name) or names.count(name) > 1:
            raise refusal(
                key, f"{name!r} cannot stand here.", 'Name inputs of the model once each: "text.indication", "image".'
            )


def _modalities(wishes: dict[str, Any]) -> tuple[str, ...]:
    return (*(["image"] if wishes["image"] else []), *wishes["text_inputs"])


def _info(wishes: dict[str, Any]) -> AdapterInfo:
    inputs = _modalities(wishes)
    return AdapterInfo(
        capabilities=frozenset({Capability.GENERATE, Capability.ANSWER}),
        labels=(),
        outputs=("text.generated",),
        modalities=inputs,
        required=tuple(wishes.get("required", ["image"] if wishes["image"] else inputs)),
        runs_weights=False,
        details={
            "architecture": f"{wishes['model']}, as served at {Place.parse(wishes['url'])}",
            "weights": UNBOUND,
            "prompt": wishes["prompt"],
            "generation": wishes.get("generation", {}),
            "sent_to_the_server": [*inputs, "the prompt or question"],
            "hosts_setting": HOSTS_VARIABLE,
        },
    )
