"""Traces in the OpenTelemetry protocol (OTLP), the form in which MLflow takes them in batches.

Needs the `mlflow` extra, which brings OpenTelemetry's messages. Knows no transport.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from registry.mirrors.trace import TraceCopy

TAG_ATTRIBUTE = "mlflow.traceTag."
"""Span attributes under this head become tags of the trace."""


def span(copy: TraceCopy) -> Any:
    """Return the trace's only span as an OTLP message.

    Every value is sent as its JSON text, plain texts too: MLflow takes one layer of JSON off an
    attribute that has two, and would otherwise read a text that looks like JSON as an object.
    """
    from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status  # noqa: PLC0415  heavy extra

    message = Span(
        trace_id=copy.trace_id,
        span_id=copy.span_id,
        name=copy.name,
        start_time_unix_nano=copy.start_ns,
        end_time_unix_nano=copy.end_ns,
        status=Status(code=Status.STATUS_CODE_OK),
    )
    tags = {TAG_ATTRIBUTE + key: value for key, value in copy.tags.items()}
    name = {TAG_ATTRIBUTE + "mlflow.traceName": copy.name}
    for key, value in {**copy.attributes, **tags, **name}.items():
        attribute = message.attributes.add(key=key)
        attribute.value.string_value = json.dumps(value, ensure_ascii=False)
    return message


def request(spans: Iterable[Any]) -> bytes:
    """Return spans as the body of an OTLP/HTTP export (`application/x-protobuf`)."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415  heavy extra
        ExportTraceServiceRequest,
    )

    message = ExportTraceServiceRequest()
    message.resource_spans.add().scope_spans.add().spans.extend(spans)
    return bytes(message.SerializeToString())
