"""Send a pydantic model as JSON, or a table as CSV."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Response
from pydantic import BaseModel

from defect_detection.text import cell

CSV = {"description": "the table", "content": {"text/csv": {"schema": {"type": "string"}}}}  # in the document


def as_json(body: BaseModel, status: int = HTTPStatus.OK) -> Response:
    return Response(body.model_dump_json(), status, content_type="application/json")


def as_csv(name: str, columns: Sequence[str], pages: Iterable[Iterable[Sequence[Any]]]) -> Response:
    """Send a table as a file, one page of rows at a time. Spreadsheets read UTF-8, and run no text as a formula."""
    headers = {"Content-Disposition": f"attachment; filename={name}.csv"}
    return Response(_lines(columns, pages), headers=headers, content_type="text/csv; charset=utf-8")


def _lines(columns: Sequence[str], pages: Iterable[Iterable[Sequence[Any]]]) -> Iterator[bytes]:
    yield "\ufeff".encode() + _line(columns)
    for rows in pages:
        yield b"".join(_line(row) for row in rows)


def _line(values: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([_cell(value) for value in values])
    return text.getvalue().encode(errors="replace")


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return cell(value) if isinstance(value, str) else value
