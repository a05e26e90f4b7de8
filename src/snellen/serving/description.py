"""What the server tells of itself: the page at /, and the OpenAPI description."""

from __future__ import annotations

import html
from typing import Any

from snellen.api import TrainedRun
from snellen.core.record import versions
from snellen.core.serialization import to_plain
from snellen.core.spec import Numbers, PixelNumbers
from snellen.data.inference_inputs import of_pairs
from snellen.export.example_inputs import input_shape, learned_range
from snellen.serving.limits import Limits
from snellen.serving.request import FORM, kinds


def info(trained: TrainedRun, sha256: str, limits: Limits) -> dict[str, Any]:
    """What `/info` answers: the model, what it reads and says, and the limits."""
    spec, preprocessing = trained.spec, trained.record.preprocessing
    given: dict[str, Any] = {"modality": spec.modality, "content_types": list(kinds(spec)), "dtype": spec.input.dtype}
    if spec.modality == "image":
        channels, height, width = input_shape(spec, preprocessing)
        given |= {"frames": 2} if of_pairs(spec) else {}
        given |= {"channels": channels, "height": height, "width": width, "resample": preprocessing.resample}
        values = learned_range(trained.model, spec)
        given |= {"range": list(values)} if values is not None else {}
    else:
        given["columns"] = [
            {
                "name": column.name,
                **({"categories": list(column.categories)} if column.categories else {"type": "number"}),
            }
            for column in spec.input.columns
        ]
    target = spec.target
    names = list(getattr(target, "names", ()))
    said: dict[str, Any] = {"targets" if isinstance(target, Numbers | PixelNumbers) else "classes": names}
    if units := getattr(target, "units", ()):
        said["units"] = list(units)
    limited = {name: value for name, value in to_plain(limits).items() if name != "is"}
    return {
        "model": trained.record.learner,
        "task": trained.record.task,
        "question": trained.task.question,
        "data": spec.name,
        **said,
        "input": given,
        "sha256": sha256,
        "limits": limited,
        "snellen": versions()["snellen"],
    }


def openapi(trained: TrainedRun, limits: Limits) -> dict[str, Any]:
    """The interface in the words of OpenAPI 3.1."""
    said = {
        "type": "object",
        "description": "The name of the file or row, and what the model says of it: the same as "
        "`snellen predict` prints.",
        "properties": {"input": {"type": "string"}},
    }
    answers = {
        "type": "object",
        "required": ["answers"],
        "properties": {
            "answers": {"type": "array", "items": said, "description": "One for each file or row, in their order."},
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
    bodies: dict[str, Any] = {kind: {} for kind in kinds(trained.spec)}
    bodies[FORM] = {"schema": {"type": "object", "required": ["file"], "properties": {"file": files}}}
    if "application/json" in bodies:
        row = {
            "type": "object",
            "required": [c.name for c in trained.spec.input.columns if c.fill is None],
            "properties": {
                c.name: {"enum": list(c.categories)} if c.categories else {"type": "number"}
                for c in trained.spec.input.columns
            },
        }
        rows = {"type": "array", "minItems": 1, "maxItems": limits.max_inputs, "items": row}
        bodies["application/json"] = {"schema": {"type": "object", "required": ["rows"], "properties": {"rows": rows}}}

    def answered(schema: dict[str, Any], what: str) -> dict[str, Any]:
        return {"description": what, "content": {"application/json": {"schema": schema}}}

    refused = {str(status): answered(error, what) for status, what in REFUSALS.items()}
    everywhere = {status: refused[status] for status in ("403", "421")}
    plain = {"200": answered({"type": "object"}, "JSON"), **everywhere}
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
                    "summary": "What the model says of files or rows",
                    "requestBody": {"required": True, "content": bodies},
                    "responses": {"200": answered(answers, "The answers"), **refused},
                }
            },
            "/health": {"get": {"operationId": "health", "summary": "Whether the server answers", "responses": plain}},
            "/info": {
                "get": {"operationId": "info", "summary": "The model, its input, the limits", "responses": plain}
            },
        },
    }


REFUSALS = {
    400: "The request, a form or the JSON is malformed",
    403: "It comes from a page of another origin",
    408: "The body came too slowly",
    413: "Too many bytes, pixels, files or rows",
    415: "A Content-Type or Content-Encoding that the model does not read",
    421: "The Host is not this server",
    422: "A file or table that cannot be read",
    429: "Too many requests wait",
    500: "A mistake of the server's",
    503: "Not answered in time, or no memory for it now",
}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body>
<h1>{title}</h1>
<p>{question} Answers are JSON, one for each file.</p>
<form action="/predict" method="post" enctype="multipart/form-data">
<input type="file" name="file" multiple required> <button>Ask</button></form>
<pre>curl {example} {url}predict</pre>
<p><a href="/info">/info</a>: the model, what it reads, the limits.
<a href="/health">/health</a>: whether it answers.
<a href="/openapi.json">/openapi.json</a>: the interface.</p>
</body></html>
"""


def example(trained: TrainedRun) -> str:
    """What curl is told to send."""
    files = (
        ["before.png", "after.png"]
        if of_pairs(trained.spec)
        else ["picture.png"]
        if trained.spec.modality == "image"
        else ["rows.csv"]
    )
    return " ".join(f"-F file=@{name}" for name in files)


def page(trained: TrainedRun, url: str) -> str:
    """The page at /: how to ask, and a form to try it with. It needs no script and nothing from elsewhere."""
    title = f"{trained.record.learner} on {trained.spec.name}"
    return _PAGE.format(
        title=html.escape(title),
        question=html.escape(trained.task.question),
        url=html.escape(url),
        example=example(trained),
    )
