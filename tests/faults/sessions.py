"""A visitor without a browser: the websocket that Streamlit's own page speaks, for many at once."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import connect

_OF_ONE_RUN = re.compile(
    r'\\"(rerun|digest)\\": [^,}]+|(deferred_file_id|uuid|fragment_id): "\w+"|'
    r'(?<=bytes: ")(\\[0-7]{3}|\\.|[^\\]){4}|(?<=}) +'
)
"""What differs between two runs of the same script: counts of them, ids drawn for each, and of what components are sent
the length of its beginning and the spaces behind it, which follow from the counts."""


@dataclass(frozen=True)
class Answer:
    """What the server sent for one look at a page.

    Attributes:
        seconds: From the request to the end of the script.
        messages: The elements that were drawn.
    """

    seconds: float
    messages: list[ForwardMsg] = field(repr=False)

    @cached_property
    def parts(self) -> dict[tuple[int, ...], str]:
        """What stands at each place of the page, with all its data, as text."""
        return {tuple(each.metadata.delta_path): _OF_ONE_RUN.sub("", str(each.delta)) for each in self.messages}

    @property
    def errors(self) -> list[str]:
        """Exceptions and alerts on the page."""
        elements = [each.delta.new_element for each in self.messages]
        told = [each.exception.message for each in elements if each.WhichOneof("type") == "exception"]
        return told + [each.alert.body for each in elements if each.WhichOneof("type") == "alert"]

    def widget(self, kind: str, label: str) -> str:
        """Id of a button or a field."""
        elements = [each.delta.new_element for each in self.messages if each.delta.HasField("new_element")]
        found = [getattr(each, kind) for each in elements if each.WhichOneof("type") == kind]
        return next(each.id for each in found if each.label == label)


class Visitor:
    """One session; a context manager."""

    def __init__(self, address: str) -> None:
        host = urlsplit(address).netloc
        self._socket = connect(
            f"ws://{host}/_stcore/stream", subprotocols=["streamlit"], origin=address, max_size=None, open_timeout=60
        )

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def look(self, page: str, query: str, *widgets: WidgetState) -> Answer:
        """Open an address and wait until its script has run.

        Args:
            page: As in ``head``; empty for the landing page.
            query: What stands behind the question mark.
            widgets: What is filled in, or pressed.

        Raises:
            TimeoutError: Nothing came for a minute.
        """
        asked = BackMsg()
        asked.rerun_script.query_string = query
        asked.rerun_script.page_name = page
        asked.rerun_script.widget_states.widgets.extend(widgets)
        began, messages = time.perf_counter(), []
        self._socket.send(asked.SerializeToString())
        while True:
            message = ForwardMsg.FromString(self._socket.recv(timeout=60))
            kind = message.WhichOneof("type")
            if kind == "delta":
                messages.append(message)
            elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return Answer(time.perf_counter() - began, messages)


def server_pid(address: str) -> int:
    """Process id of the server that `tests.e2e.serving.served` started; Linux only."""
    port = str(urlsplit(address).port)
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cmdline").read_bytes().split(b"\0")[1:5] == [b"-m", b"app", b"--server.port", port.encode()]:
                return int(entry.name)
    raise LookupError(f"No server at {address}.")


def resident_mb(pid: int) -> float:
    """Memory of a process that is in RAM, in MB."""
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) / 1000
