"""Threads that live side by side, and whose failures are seen."""

import threading


def together(life, clients: int) -> None:
    """Runs `life(0)`, `life(1)`, ... at the same time, and raises the first failure of any."""
    failures = []

    def guarded(me: int) -> None:
        try:
            life(me)
        except BaseException as failure:  # to be raised where it is seen
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(me,)) for me in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
