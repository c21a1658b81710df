"""Temporary files: what is ours goes, what is not stays, whoever else is at it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from llmbot.operations.temp_files import CONTEXT, clean, prepare, use_of

ROUNDS = 60


def test_several_may_clean_at_the_same_time(tmp_path: Path) -> None:
    """Preparing, cleaning and weighing at once meet no error, and leave nothing."""
    temp = tmp_path / "temp"
    prepare(temp)

    def work(number: int) -> tuple[str, ...]:
        left: tuple[str, ...] = ()
        for turn in range(ROUNDS):
            prepare(temp)
            (temp / CONTEXT / f"job-{number}-{turn}").write_bytes(b"x")
            use_of(temp)
            left += clean(temp, frozenset()).left
        return left

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [(), (), (), ()]
    assert use_of(temp).files == 0


def test_a_live_jobs_files_stay(tmp_path: Path) -> None:
    """Only what belongs to no live job is removed, and in a shared directory only what is ours."""
    (tmp_path / "somebody-elses").write_bytes(b"x")
    prepare(tmp_path)
    (tmp_path / "llmbot-ours").write_bytes(b"xx")
    for job in ("alive", "dead"):
        (tmp_path / CONTEXT / job).mkdir()
        (tmp_path / CONTEXT / job / "part").write_bytes(b"xxx")
    cleaned = clean(tmp_path, frozenset({"alive"}))
    assert (cleaned.files, cleaned.bytes) == (2, 5)
    assert (tmp_path / "somebody-elses").exists()
    assert (tmp_path / CONTEXT / "alive" / "part").exists()
