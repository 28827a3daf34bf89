"""Files that are fetched: streamed to disk, whole or not at all."""

from pathlib import Path

import httpx

from tollhouse_client.asking import refusal
from tollhouse_client.errors import Unreachable
from tollhouse_client.wire import Wire


def fetch(wire: Wire, address: str, to: Path, size: int) -> None:
    """Write what is at the address to a file; raises TollhouseError, and leaves nothing behind, if that is not `size` bytes."""
    part = to.with_name(f".{to.name[:200]}.part")
    try:
        with wire.fetch(address) as answer:
            if not answer.is_success:
                answer.read()
                raise refusal(answer, _server(address))
            with part.open("wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
                received = file.tell()
        if received != size:
            raise Unreachable(wire.url, EOFError(f"{to.name} broke off after {received} of {size} bytes"))
        part.replace(to)
    except httpx.HTTPError as error:
        raise Unreachable(wire.url, error) from error
    finally:
        part.unlink(missing_ok=True)


def send(wire: Wire, address: str, headers: dict[str, str], path: Path) -> None:
    """Put a file to an address that was announced for it; raises TollhouseError or OSError."""
    try:
        with path.open("rb") as file:
            answer = wire.put(address, headers, file, path.stat().st_size)
    except httpx.HTTPError as error:
        raise Unreachable(wire.url, error) from error
    if not answer.is_success:
        raise refusal(answer, _server(address))


def _server(address: str) -> str:
    """Whom the address belongs to: the whole of it may open the file, and is not for messages."""
    return httpx.URL(address).host
