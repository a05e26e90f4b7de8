"""Server description: /info, the HTML page at /, and the OpenAPI document."""

from __future__ import annotations

import html
from typing import Any

from snellen.api import TrainedRun
from snellen.core.record import versions
from snellen.core.serialization import to_plain
from snellen.export.example_inputs import learned_range
from snellen.modalities import modality_of
from snellen.serving.limits import Limits
from snellen.serving.request import FORM, content_types


def info(trained: TrainedRun, sha256: str, limits: Limits) -> dict[str, Any]:
    """Content of `/info`: the model, its input, its classes or targets, and the limits."""
    spec, preprocessing = trained.spec, trained.record.preprocessing
    input_info: dict[str, Any] = {
        "modality": spec.modality,
        "content_types": list(content_types(spec)),
        "dtype": spec.input.dtype,
    }
    input_info |= modality_of(spec).describe(spec, preprocessing)
    values = learned_range(trained.model, spec)
    input_info |= {"range": list(values)} if values is not None else {}
    target = spec.target
    names = list(getattr(target, "names", ()))
    outputs: dict[str, Any] = {trained.task.display.names: names}
    if units := getattr(target, "units", ()):
        outputs["units"] = list(units)
    limit_values = {name: value for name, value in to_plain(limits).items() if name != "is"}
    return {
        "model": trained.record.learner,
        "task": trained.record.task,
        "question": trained.task.question,
        "data": spec.name,
        **outputs,
        "input": input_info,
        "sha256": sha256,
        "limits": limit_values,
        "snellen": versions()["snellen"],
    }


def openapi(trained: TrainedRun, limits: Limits) -> dict[str, Any]:
    """OpenAPI 3.1 document of the endpoints."""
    prediction = {
        "type": "object",
        "description": "The name of the file or table row, and its prediction, as printed by `snellen predict`.",
        "properties": {"input": {"type": "string"}},
    }
    answers = {
        "type": "object",
        "required": ["answers"],
        "properties": {
            "answers": {
                "type": "array",
                "items": prediction,
                "description": "One prediction per file or row, in input order.",
            },
            "warnings": {"type": "array", "items": {"type": "string"}},
        },
    }
    error = {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "cause", "remedy"],
                "properties": {"code": {"type": "string"}, "cause": {"type": "string"}, "remedy": {"type": "string"}},
            }
        },
    }
    files = {
        "type": "array",
        "minItems": 1,
        "maxItems": limits.max_inputs,
        "items": {"type": "string", "contentMediaType": "application/octet-stream"},
    }
    bodies: dict[str, Any] = {kind: {} for kind in content_types(trained.spec)}
    bodies[FORM] = {"schema": {"type": "object", "required": ["file"], "properties": {"file": files}}}
    json_schema = modality_of(trained.spec).json_schema
    if json_schema is not None:
        bodies["application/json"] = {"schema": json_schema(trained.spec, limits.max_inputs)}

    def json_response(schema: dict[str, Any], description: str) -> dict[str, Any]:
        return {"description": description, "content": {"application/json": {"schema": schema}}}

    errors = {str(status): json_response(error, description) for status, description in STATUS_TEXTS.items()}
    common_errors = {status: errors[status] for status in ("403", "421")}
    plain = {"200": json_response({"type": "object"}, "JSON"), **common_errors}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{trained.record.learner} on {trained.spec.name}",
            "version": versions()["snellen"],
            "description": trained.task.question,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/predict": {
                "post": {
                    "operationId": "predict",
                    "summary": "Predictions for files or table rows",
                    "requestBody": {"required": True, "content": bodies},
                    "responses": {"200": json_response(answers, "The predictions"), **errors},
                }
            },
            "/health": {"get": {"operationId": "health", "summary": "Status and queue length", "responses": plain}},
            "/info": {
                "get": {"operationId": "info", "summary": "The model, its input and the limits", "responses": plain}
            },
        },
    }


STATUS_TEXTS = {
    400: "Malformed request, form or JSON",
    403: "Cross-origin request",
    408: "The body arrives too slowly",
    413: "Too many bytes, pixels, files or rows",
    415: "Unsupported Content-Type or Content-Encoding",
    421: "The Host header does not name this server",
    422: "Unreadable file or table",
    429: "The queue is full",
    500: "Internal server error",
    503: "Timeout, out of memory, or shutting down",
}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body>
<h1>{title}</h1>
<p>{question} The response is JSON with one prediction per file.</p>
<form action="/predict" method="post" enctype="multipart/form-data">
<input type="file" name="file" multiple required> <button>Predict</button></form>
<pre>curl {curl_arguments} {url}predict</pre>
<p><a href="/info">/info</a>: the model, its input and the limits.
<a href="/health">/health</a>: status and queue length.
<a href="/openapi.json">/openapi.json</a>: the OpenAPI description.</p>
</body></html>
"""


def curl_arguments(trained: TrainedRun) -> str:
    """Example arguments of curl."""
    return " ".join(f"-F file=@{name}" for name in modality_of(trained.spec).example_files(trained.spec))


def page(trained: TrainedRun, url: str) -> str:
    """HTML page at /: a curl example and an upload form, without scripts or external resources."""
    title = f"{trained.record.learner} on {trained.spec.name}"
    return _PAGE.format(
        title=html.escape(title),
        question=html.escape(trained.task.question),
        url=html.escape(url),
        curl_arguments=curl_arguments(trained),
    )
