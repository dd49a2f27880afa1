"""Runs a command that cannot outlive the process that started it; a script on its own, standard library only.

`python tether.py PARENT_PID SIGNAL PIPE_FD ACCOUNT COMMAND…`, ACCOUNT being `-` or `UID:GID`.
On Linux it becomes the command, and the kernel sends SIGNAL to it when its parent dies in whatever way
(prctl(2), PR_SET_PDEATHSIG). Elsewhere it stays beside the command and waits for the end of PIPE_FD, whose other
end only the parent holds.

Order is the correctness here:
1. change the account: a change of credentials would clear the parent-death signal again,
2. ask for the signal,
3. look whether the parent died before that.
The parent is, to the kernel, the THREAD that started us: start from one that lives as long as the process.
"""

import ctypes
import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run as a script; see the module's docstring."""
    parent_pid, number, pipe_fd = int(arguments[0]), int(arguments[1]), int(arguments[2])
    account, command = arguments[3], arguments[4:]
    if account != "-":
        uid, gid = (int(part) for part in account.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if not sys.platform.startswith("linux"):
        return _stay_beside(command, number, pipe_fd)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent_pid:
        return 1
    os.close(pipe_fd)
    os.execvp(command[0], command)


def _stay_beside(command: list[str], number: int, pipe_fd: int) -> int:
    pid = os.spawnvp(os.P_NOWAIT, command[0], command)
    for passed_on in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(passed_on, lambda given, _: os.kill(pid, given))

    def end_with_parent() -> None:
        os.read(pipe_fd, 1)  # returns at the end of the pipe only: nobody writes
        os.kill(pid, number)

    threading.Thread(target=end_with_parent, daemon=True).start()
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
