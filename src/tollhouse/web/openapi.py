"""What the OpenAPI document says of the ingest route, which FastAPI does not see, and of authentication and errors."""

from typing import Any

_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["id", "type"],
    "properties": {
        "specversion": {"type": "string", "enum": ["1.0"]},
        "id": {"type": "string", "minLength": 1, "maxLength": 255},
        "type": {"type": "string", "minLength": 1, "maxLength": 255},
        "source": {"type": "string", "maxLength": 255},
        "subject": {"type": "string", "maxLength": 255, "nullable": True},
        "time": {"type": "string", "format": "date-time", "nullable": True},
        "stamped": {"type": "boolean"},
        "data": {},
    },
}
_RECEIPT = {
    "type": "object",
    "required": ["inserted", "duplicates", "rejected"],
    "properties": {
        "inserted": {"type": "integer"},
        "duplicates": {"type": "integer"},
        "rejected": {"type": "array", "items": {"type": "object"}},
        "conflicts": {"type": "array", "items": {"type": "object"}},
    },
}
_PROBLEM = {
    "description": "What was wrong",
    "content": {"application/problem+json": {"schema": {"type": "object", "required": ["type", "title", "status", "detail"]}}},
}
_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"anyOf": [_EVENT, {"type": "array", "items": _EVENT}]}},
        "application/cloudevents+json": {"schema": _EVENT},
        "application/cloudevents-batch+json": {"schema": {"type": "array", "items": _EVENT}},
        "application/x-ndjson": {"schema": {"type": "string"}},
    },
}


def _ingest(id: str, summary: str, success: dict[str, Any]) -> dict[str, Any]:
    problems = dict.fromkeys(("400", "401", "403", "413", "429", "503", "507"), _PROBLEM)
    return {"post": {"summary": summary, "operationId": id, "tags": ["events"], "requestBody": _BODY, "responses": success | problems}}


_COMMITTED = {"description": "Committed to disk", "content": {"application/json": {"schema": _RECEIPT}}}
_INGEST = {
    "/api/events": _ingest("send_events", "Send events", {"200": _COMMITTED}),
    "/api/v1/events": _ingest(
        "send_events_as_to_openmeter", "Send events, answered as OpenMeter does", {"204": {"description": "All committed to disk"}}
    ),
}


def with_ingest(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document, completed."""
    for path, operation in _INGEST.items():
        document["paths"].setdefault(path, {}).update(operation)
    document.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}]
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].setdefault("default", _PROBLEM)
            if "422" in operation["responses"]:
                operation["responses"]["422"] = _PROBLEM
    return document
