"""The queue: jobs in their turn, each by a session of its own thread, and no more than there is room for."""

import threading
from collections.abc import Iterator
from itertools import count

import pytest

from mien.errors import MienError
from mien.serving.pool import FullError, Pool


@pytest.fixture
def pool() -> Iterator[Pool[int]]:
    numbers = count()
    made = Pool(lambda: next(numbers), sessions=1, waiting=3)
    yield made
    made.close()


def test_jobs_are_done_in_turn_by_a_session_and_errors_are_their_own(pool: Pool[int]) -> None:
    done: list[int] = []
    jobs = [pool.submit(lambda session, number=number: done.append(number) or session) for number in range(3)]  # type: ignore[func-returns-value, misc]
    assert [job.result() for job in jobs] == [0, 0, 0]
    assert done == [0, 1, 2]
    bad = pool.submit(lambda session: 1 // session)
    assert isinstance(bad.exception(), ZeroDivisionError)
    assert pool.submit(lambda session: "after").result() == "after"
    assert pool.is_ready


def test_there_is_room_for_so_many_and_cancelled_jobs_are_skipped(pool: Pool[int]) -> None:
    begun, release = threading.Event(), threading.Event()
    done: list[int] = []
    first = pool.submit(lambda session: begun.set() or release.wait())  # type: ignore[func-returns-value]
    begun.wait()
    waiting = [pool.submit(lambda session, number=number: done.append(number)) for number in range(3)]  # type: ignore[misc]
    assert pool.waiting == 3
    assert not pool.is_ready
    for patience in (None, 0.01):
        with pytest.raises(FullError):
            pool.submit(lambda session: None, patience)
    assert waiting[1].cancel()
    assert not first.cancel()
    release.set()
    pool.submit(lambda session: None, patience=600).result()
    assert done == [0, 2]


def test_all_sessions_are_used_at_once_and_what_waits_is_done_before_the_end() -> None:
    numbers = count()
    pool = Pool(lambda: next(numbers), sessions=3, waiting=5)
    together = threading.Barrier(3)

    def meet(session: int) -> int:
        together.wait()
        return session

    assert sorted(job.result() for job in [pool.submit(meet) for _ in range(3)]) == [0, 1, 2]
    late = [pool.submit(lambda session: "done") for _ in range(5)]
    pool.close()
    assert [job.result(0) for job in late] == ["done"] * 5
    assert not pool.is_ready


def test_a_session_that_cannot_be_opened_is_told_at_once() -> None:
    def fail() -> int:
        raise MienError("there is no model")

    with pytest.raises(MienError, match="there is no model"):
        Pool(fail, sessions=2, waiting=1)


def test_when_to_come_back_is_as_long_as_jobs_took() -> None:
    pool = Pool(lambda: 0, sessions=2, waiting=9)
    assert pool.retry_after == 1
    pool._seconds = 3.0
    begun, release = threading.Semaphore(0), threading.Event()
    for _ in range(2):
        pool.submit(lambda session: begun.release() or release.wait())  # type: ignore[func-returns-value]
        begun.acquire()
    for _ in range(5):
        pool.submit(lambda session: None)
    assert pool.retry_after == 8  # Five jobs of three seconds by two threads.
    release.set()
    pool.close()
