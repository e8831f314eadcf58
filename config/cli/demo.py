"""``auscult demo``: the main job, from cohorts and models to a signed bundle, on this machine."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

from config.cli.telling import json_option


@click.command()
@click.option("--once", is_flag=True, help="End after the job instead of serving the dashboard.")
@json_option
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=Path("var/demo"),
    show_default=True,
    help="Folder for all state.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8000,
    show_default=True,
    help="Port of the dashboard on 127.0.0.1.",
)
@click.option("--patients", default=2600, show_default=True, help="Simulated patients in the held-out cohort.")
@click.option(
    "--with-smollm",
    is_flag=True,
    help="Also audit a real language model (SmolLM2-135M) on real reports: some ten minutes more on two cores.",
)
@click.option(
    "--with-padchest",
    is_flag=True,
    help="Also replay 78 months of real studies (PadChest) through a monitor: some ten minutes more on two cores.",
)
@click.option(
    "--accept-licence",
    is_flag=True,
    help="Accept the licences of the data that --with-smollm (OpenI, CC BY-NC-ND 4.0) and --with-padchest (PadChest "
    "Dataset Research Use Agreement) read.",
)
def demo(
    once: bool,
    as_json: bool,
    home: Path,
    port: int,
    patients: int,
    with_smollm: bool,
    with_padchest: bool,
    accept_licence: bool,
) -> None:
    """Run the main job and serve the dashboard.

    Two real systems are audited by real workers: a labeller of chest X-rays on 4,376 real studies, and a
    multimodal model, trained here, on simulated patients. A committee decides, and a signed bundle is verified.
    """
    from config.demo.display import Display
    from config.embedded.stack import Stack

    # Being asked to end is the same as Ctrl-C: every service is stopped on the way out. A shell that starts this in
    # the background makes it ignore SIGINT, so that is set as well.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    display = Display(quiet=as_json)
    started = time.monotonic()
    smollm = _prepare(home, accept_licence=accept_licence, display=display) if with_smollm else None
    padchest = _prepare_padchest(home, accept_licence=accept_licence) if with_padchest else None
    stack = Stack(home=home, port=port, tell=display.warn)
    with stack:
        os.environ.update(stack.environment)
        display.say(f"Services are running; their logs are in {stack.supervisor.logs}")
        from config.demo.story import tell_story

        result = tell_story(stack=stack, display=display, patients=patients, smollm=smollm, padchest=padchest)
        seconds = round(time.monotonic() - started, 1)
        display.summary(result, address=stack.address, seconds=seconds, peak_bytes=stack.supervisor.peak_bytes)
        if as_json:
            facts = {
                "bundle": str(result.bundle),
                "verified": result.verified,
                "seconds": seconds,
                "verdicts": result.verdicts,
                "peak_memory_mib": stack.supervisor.peak_bytes >> 20,
            }
            click.echo(json.dumps(facts))
        if not once:
            _serve(stack, display)
    if not result.verified:
        sys.exit(1)


def _prepare(home: Path, *, accept_licence: bool, display: Any) -> Any:
    """What the audit of the language model needs: a refusal comes before any service is started."""
    from config.demo.smollm import prepare

    return prepare(home=home.resolve(), accept_licence=accept_licence, tell=display.say)


def _prepare_padchest(home: Path, *, accept_licence: bool) -> Any:
    """What the drill needs, made before any service is started."""
    from config.demo.padchest import prepare

    return prepare(home=home.resolve(), accept_licence=accept_licence)


def _serve(stack: object, display: object) -> None:
    """Wait for Ctrl-C, or for a vital service to fail."""
    from config.demo.display import Display
    from config.embedded.stack import Stack

    assert isinstance(stack, Stack) and isinstance(display, Display)
    display.say("The dashboard is served until Ctrl-C.")
    try:
        while stack.supervisor.failed is None:
            time.sleep(0.5)
    except KeyboardInterrupt:
        display.say("Stopping every service ...")
