"""Lets the client, which is synchronous, talk to an ASGI app or over any other asynchronous transport of httpx."""

import asyncio
import concurrent.futures
import threading

import httpx


class Bridge(httpx.BaseTransport):
    """Runs the asynchronous transport on an event loop of its own; a forked child makes itself another one."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and read the whole answer; raises ReadTimeout."""
        seconds = request.extensions.get("timeout", {}).get("read")
        running = asyncio.run_coroutine_threadsafe(self._exchange(request), self._running_loop())
        try:
            return running.result(seconds)
        except concurrent.futures.TimeoutError:
            running.cancel()
            raise httpx.ReadTimeout(f"no answer in {seconds} seconds", request=request) from None

    def close(self) -> None:
        """Stop the loop."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop = None

    def after_fork(self) -> None:
        """In a forked child: the loop's thread is gone."""
        self._lock = threading.Lock()
        self._loop = None

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        answer = await self._transport.handle_async_request(request)
        if not isinstance(answer.stream, httpx.AsyncByteStream):
            raise TypeError("an asynchronous transport has to answer with an asynchronous stream")
        content = b"".join([chunk async for chunk in answer.stream])
        await answer.aclose()
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(content))

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_serve, args=(self._loop,), name="tollhouse-bridge", daemon=True).start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
