"""Networks with a fault, as transports for the client."""

import httpx


class Network(httpx.BaseTransport):
    """The network as it is."""

    def __init__(self) -> None:
        self._network = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._network.handle_request(request)

    def close(self) -> None:
        self._network.close()


class Counting(Network):
    """Counts the requests for a path."""

    def __init__(self, ending: str) -> None:
        super().__init__()
        self.ending, self.count = ending, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.count += request.url.path.endswith(self.ending)
        return super().handle_request(request)


class Deaf(Network):
    """Loses the answers to the first requests for a path after they have done their work."""

    def __init__(self, ending: str, times: int) -> None:
        super().__init__()
        self.ending, self.times = ending, times

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if request.url.path.endswith(self.ending) and self.times > 0:
            self.times -= 1
            answer.read()
            raise httpx.ReadTimeout("the answer is lost", request=request)
        return answer


class Severed(Network):
    """Brings no request for a path to the server."""

    def __init__(self, ending: str) -> None:
        super().__init__()
        self.ending = ending

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith(self.ending):
            raise httpx.ConnectError("nobody is there", request=request)
        return super().handle_request(request)


class Cutting(Network):
    """Brings only a part of the first answers from a path."""

    def __init__(self, beginning: str, times: int) -> None:
        super().__init__()
        self.beginning, self.times = beginning, times

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if request.url.path.startswith(self.beginning) and self.times > 0:
            self.times -= 1
            content = answer.read()
            return httpx.Response(answer.status_code, content=content[: len(content) // 2])
        return answer
