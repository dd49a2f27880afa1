"""Faust's own bugs: each program of the README prints what the README says. One that does not any more was mended."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def programs() -> list[str]:
    section = README.read_text().split("## Faust's own bugs", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("program", programs(), ids=range(len(programs())))
def test_a_bug_of_fausts_is_still_there(program: str) -> None:
    expected = program.strip().rsplit("# ", 1)[1]
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert ran.stdout.strip() == expected
