"""How a command ends early: by Ctrl-C, by SIGTERM, or because the process that started it is gone.

In each case it ends within seconds, with one line that says what is stored and how to go on.
"""

import atexit
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType

GRACE_SECONDS = 5.0  # for libraries to clean up; then the process ends whatever they do
POLL_SECONDS = 1.0
ABOVE = "SENTIDISTILL_ABOVE"  # the process id of the nearest process above that follows, too


def _before_it_began() -> str:
    return "interrupted before it began; run the same command again"


_say: Callable[[], str] = _before_it_began
_said = threading.Lock()
_listening = False
_over = False


def listen(say: Callable[[], str] | None = None, *, follow: bool = False, grace: float = GRACE_SECONDS) -> None:
    """Take SIGTERM, which schedulers send, as Ctrl-C; `say` gives the line that is shown then.

    With `follow`, the end of the process that started this one is taken so, too: a stage must not go on beside the next
    run. So is the end of the nearest process above that follows: where several processes train for a stage, a launcher
    is between, which would go on. Only a process that ignores hang-ups (`nohup`) and was not started by DVC goes on. A
    second call changes the line alone.
    """
    global _say, _listening
    _say = say or _say
    if _listening or threading.current_thread() is not threading.main_thread():
        return
    _listening = True
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) == default:
            signal.signal(number, _interrupt)
    sys.excepthook = _show
    atexit.register(_ignore)
    # Handlers run between two steps of Python, which may be minutes apart. This socket is written to at once.
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=_forget)
    follow = follow and ("DVC_STAGE" in os.environ or signal.getsignal(signal.SIGHUP) != signal.SIG_IGN)
    above = int(os.environ.get(ABOVE, os.getpid())) if follow else None
    if follow:
        os.environ[ABOVE] = str(os.getpid())
    threading.Thread(target=_watch, args=(reading, writing, above, grace), daemon=True).start()


def over() -> None:
    """The command has done its work: from now on there is nothing to interrupt, and it ends as it would."""
    global _over
    _over = True


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _over:
        return
    _ignore()  # a second one would cut off the cleaning up
    raise KeyboardInterrupt


def _ignore() -> None:
    """Python itself, as it ends, would take our handlers off again, and die of the next signal."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_IGN)


def _show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """One line in place of the traceback of an interrupt, or of what it broke on its way."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt):
            return _say_once()
        cause = cause.__context__
    sys.__excepthook__(kind, error, traceback)


def _say_once() -> None:
    if _said.acquire(blocking=False):
        print(_say(), file=sys.stderr, flush=True)


def _forget() -> None:
    """A forked process has signals of its own."""
    signal.set_wakeup_fd(-1)
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, default)


def _watch(reading: socket.socket, writing: socket.socket, above: int | None, grace: float) -> None:
    """Wait for a signal or, with `above`, for its end or that of who started this one; then see that this one ends."""
    started_by = _starters() if above else ()
    while not above or (_starters() == started_by and _is_there(above)):
        ready, _, _ = select.select([reading], [], [], POLL_SECONDS if above else None)
        if ready and reading.recv(1)[0] in (signal.SIGINT, signal.SIGTERM):
            break
    else:
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    if _over:
        os._exit(0)
    try:
        _say_once()
    finally:
        os._exit(1)


def _is_there(process: int) -> bool:
    import psutil

    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _starters() -> tuple[int, ...]:
    """The process that started this one and, where that is a shell for this command alone, who started the shell."""
    import psutil

    try:
        parent = psutil.Process(os.getppid())
        return (parent.pid, parent.ppid()) if "-c" in parent.cmdline() else (parent.pid,)
    except psutil.Error:
        return (os.getppid(),)
