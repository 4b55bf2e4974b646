"""The web server of the page: viser, bound to one address."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from dfd_ros.core.errors import InputError, reason

if TYPE_CHECKING:
    import viser


def open_server(host: str, port: int) -> viser.ViserServer:
    """A server that is listening.

    Raises:
        InputError: viser is not installed, the port is taken, or the host is none of this machine.
    """
    try:
        import rich  # comes with viser
        import viser
    except ImportError as error:
        raise InputError(f'the live page needs viser, and {error.name} is not installed: pip install viser') from None
    _check_address(host, port)
    rich.get_console().quiet = True  # viser prints by it when it starts and stops, whatever `verbose` is
    server = viser.ViserServer(host=host, port=port, verbose=False)
    if port and server.get_port() != port:  # somebody was faster
        close_server(server)
        raise _taken(port)
    return server


def close_server(server: viser.ViserServer) -> None:
    """Stops it."""
    server.stop()


def address(server: viser.ViserServer, host: str) -> str:
    """What to open in a browser."""
    anywhere = host in ('', '0.0.0.0', '::')
    return f'http://{socket.gethostname() if anywhere else host}:{server.get_port()}'


def _check_address(host: str, port: int) -> None:
    """Needed since viser silently takes the next free port, and hangs if it cannot bind the host."""
    try:
        family, kind, protocol, _, bound = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(bound)
            probe.listen()
    except PermissionError:
        raise InputError(f'port {port}: only root may listen on it; choose one from 1024 on') from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _taken(port) from None
        raise InputError(f'host {host}: cannot listen there: {reason(error)}') from None
    except (OverflowError, UnicodeError) as error:
        raise InputError(f'host {host}, port {port}: {reason(error)}') from None


def _taken(port: int) -> InputError:
    return InputError(f'port {port}: taken by another program; choose another, such as {port + 1}')
