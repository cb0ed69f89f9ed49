"""Work in threads ahead of whoever takes it: order, bounds, errors, and no thread left."""

import threading
import time

import pytest

from geoindex.lookahead import BATCHES_AHEAD, work_ahead


def batches(count, size=4, read=None):
    for start in range(0, count, size):
        if read is not None:
            read.append(start)
        yield list(range(start, min(start + size, count)))


def threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")}


def test_results_come_in_order_whatever_takes_longest():
    def work(number):
        time.sleep(0.002 * (number % 3))
        return 10 * number

    assert list(work_ahead(batches(10), work)) == [[0, 10, 20, 30], [40, 50, 60, 70], [80, 90]]
    assert list(work_ahead([], work)) == []
    assert list(work_ahead([[], [1]], work)) == [[], [10]]


def test_it_reads_no_more_than_it_says():
    read = []
    results = work_ahead(batches(100, 4, read), str)
    assert read == []
    for taken in range(1, 6):
        next(results)
        assert len(read) == taken + BATCHES_AHEAD
    results.close()


def test_the_next_batches_are_worked_on_while_one_is_in_use():
    done = threading.Event()
    results = work_ahead([[0], [1]], lambda number: done.set() if number else None)
    next(results)
    assert done.wait(10)
    results.close()


def test_an_error_comes_in_the_turn_of_its_batch():
    results = work_ahead(batches(12), lambda number: 1 // (number - 5))
    assert next(results) == [1 // (n - 5) for n in range(4)]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert next(results, None) is None


@pytest.mark.parametrize("end", ["close", "error", "exhausted", "forgotten"])
def test_no_thread_is_left(end):
    before = threads()
    results = work_ahead(batches(40), lambda number: 1 // (number - 9) if end == "error" else number)
    if end == "exhausted":
        list(results)
    elif end == "error":
        with pytest.raises(ZeroDivisionError):
            list(results)
    else:
        next(results)
        assert threads() > before
        if end == "close":
            results.close()
        else:
            del results
    assert threads() == before


def test_what_has_not_begun_when_it_is_closed_is_dropped():
    begun, go = [], threading.Event()

    def work(number):
        begun.append(number)
        if number >= 4:
            go.wait(10)

    results = work_ahead(batches(1000, 4), work)
    next(results)
    threading.Timer(0.05, go.set).start()
    results.close()
    assert len(begun) < 4 * (1 + BATCHES_AHEAD)
