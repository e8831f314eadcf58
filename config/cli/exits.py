"""What the exit codes of ``auscult`` mean: one table, shown by ``auscult --help`` and in the reference."""

from __future__ import annotations

PASS, FAIL, INSUFFICIENT, BAD_INPUT, DENIED, NOT_THERE, UNREACHABLE, CRASHED = 0, 1, 2, 3, 4, 5, 6, 70
MEANINGS: dict[int, str] = {
    PASS: "done; of an audit, a gate or a verification: passed",
    FAIL: "an audit, a gate or a verification failed",
    INSUFFICIENT: "an audit or a gate has insufficient evidence; of commands that judge nothing: wrong options",
    BAD_INPUT: "bad input, or the house refuses: standard error says what, where, and what to do",
    DENIED: "the server does not let this token do it (auscult api)",
    NOT_THERE: "the server has nothing there (auscult api)",
    UNREACHABLE: "the server cannot be reached or is at its limit: try again (auscult api)",
    CRASHED: "a fault of Auscult itself, with everything it knows on standard error",
}


def epilogue() -> str:
    """The table as the last paragraph of the help."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code:>2}  {said}" for code, said in MEANINGS.items())
