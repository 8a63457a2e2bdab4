"""Stopping on request: SIGTERM, SIGINT and SIGHUP end a run between two iterations, a second one ends it at once."""

import contextlib
import os
import signal
import threading

import tensorflow as tf

from fada_tf.errors import Stopped

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopRequest:
    """A context in which the first signal is remembered and the second ends the process.

    SIGHUP, which comes when the terminal is closed, is left alone where it was ignored at the start, as with nohup. It
    may come twice by itself, so as a second signal it does not count.

    Python runs signal handlers between two of its own instructions only, and a compiled loop is one instruction for
    minutes. So a thread waits for the byte that the interpreter's C code writes at once.

    Attributes:
      flag: bool variable for compiled loops: a signal has come.
    """

    def __init__(self):
        with tf.device("CPU:0"):
            self.flag = tf.Variable(False, trainable=False, name="stop")
        self._signal: signal.Signals | None = None

    def check(self) -> None:
        """Raises `Stopped` if a signal has come."""
        if self._signal:
            raise Stopped(f"stopped by {self._signal.name}")

    def __enter__(self) -> "StopRequest":
        self._installed = threading.current_thread() is threading.main_thread()  # others may not handle signals
        if self._installed:
            read, self._write = os.pipe()
            os.set_blocking(self._write, False)
            taken = [n for n in _SIGNALS if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]
            self._handlers = {number: signal.signal(number, lambda *_: None) for number in taken}
            self._earlier_descriptor = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            threading.Thread(target=self._watch, args=(read,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        if self._installed:
            signal.set_wakeup_fd(self._earlier_descriptor)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            os.close(self._write)

    def _watch(self, descriptor: int) -> None:
        with open(descriptor, "rb", buffering=0) as stream:
            while byte := stream.read(1):
                if byte[0] not in _SIGNALS or (self._signal and byte[0] == signal.SIGHUP):
                    continue
                if self._signal:
                    os._exit(128 + byte[0])
                self._signal = signal.Signals(byte[0])
                with contextlib.suppress(OSError):  # the terminal may be gone
                    os.write(2, f"{self._signal.name}: stopping; once more ends the process at once\n".encode())
                self.flag.assign(True)
