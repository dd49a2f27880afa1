"""A port is for whoever asked for it, from the asking until a server listens on it."""

from __future__ import annotations

import socket

import pytest

from tally.local.ports import HOST, free_ports, is_free


def test_a_port_that_was_given_is_found_by_nobody_else_and_a_server_can_listen_on_it() -> None:
    for port in free_ports(3):
        with socket.socket() as search, pytest.raises(OSError):
            search.bind((HOST, port))
        assert is_free(port)
        socket.create_server((HOST, port)).close()


def test_ports_of_one_answer_differ() -> None:
    assert len(set(free_ports(200))) == 200
