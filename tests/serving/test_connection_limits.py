"""Connections that the client closes first."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest

from snellen.serving.connection_limits import TimedConnection
from snellen.serving.limits import Limits


@pytest.mark.parametrize("call", ["resume_reading", "write_eof"])
def test_a_client_that_is_gone_is_no_error_and_its_connection_is_aborted(call: str) -> None:
    """Shutting down a socket whose other end is gone raises ENOTCONN."""
    transport = Mock(spec=asyncio.Transport)
    transport.get_write_buffer_size.return_value = 0
    getattr(transport, call).side_effect = OSError(107, "Transport endpoint is not connected")

    async def drain() -> None:
        connection = TimedConnection(Mock(connections=set()), Limits(), set())
        connection.connection_made(transport)
        connection.drain()

    asyncio.run(drain())
    transport.abort.assert_called_once()
