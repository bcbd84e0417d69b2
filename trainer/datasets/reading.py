"""Rows out of a file or a folder of shards, one at a time, each with the place it came from."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from trainer.errors import DatasetError
from trainer.text import one_line

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv", ".txt")
_GZIP = b"\x1f\x8b"
_LFS = b"version https://git-lfs"


@dataclass(frozen=True)
class Row:
    """One row: its fields, the file it stands in, and its 1-based line (JSONL, text) or row number (the others)."""

    fields: dict[str, Any]
    path: Path
    line: int

    @property
    def place(self) -> str:
        """FILE:LINE, for messages."""
        return f"{self.path}:{self.line}"


def files_of(path: Path) -> list[Path]:
    """The files that make up a dataset: the file itself, or the shards of a folder in name order."""
    if path.is_file():
        return [path]
    if not path.exists():
        raise DatasetError(f"{path} does not exist", "give the path of a file or of a folder of shards")
    shards = sorted(p for p in path.iterdir() if p.is_file() and _suffix(p) in SUFFIXES)
    if not shards:
        raise DatasetError(f"{path} holds no dataset file", f"burnish reads {', '.join(SUFFIXES)}, each also as .gz")
    return shards


def read_rows(path: Path) -> Iterator[Row]:
    """Every row of a dataset in order. Raises DatasetError naming file and line at the first that cannot be read."""
    for file in files_of(path):
        try:
            yield from _read_file(file)
        except (OSError, EOFError) as error:
            raise DatasetError(f"{file} cannot be read: {error}", "check the file and its permissions") from error


def _read_file(file: Path) -> Iterator[Row]:
    suffix = _suffix(file)
    if suffix not in SUFFIXES:
        raise DatasetError(f"{file}: unknown kind of file", f"burnish reads {', '.join(SUFFIXES)}, each also as .gz")
    if suffix == ".parquet":
        yield from _parquet(file)
        return
    with file.open("rb") as raw:
        head = raw.read(512)
        raw.seek(0)
        # By content, not by name: files are often (un)packed on the way and keep their old name.
        stream: BinaryIO = gzip.GzipFile(fileobj=raw) if head.startswith(_GZIP) else raw  # type: ignore[assignment]
        if stream is not raw:
            head = stream.read(512)
            stream.seek(0)
        _refuse_what_is_no_data(file, head)
        if suffix in (".csv", ".tsv"):
            yield from _csv(file, stream, "\t" if suffix == ".tsv" else None)
        elif suffix == ".txt":
            for line, text in _lines(file, stream):
                yield Row({"text": text}, file, line)
        elif head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            yield from _json_array(file, stream)
        elif suffix == ".json":
            yield from _json_document(file, stream)
        else:
            yield from _jsonl(file, stream)


def _suffix(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _refuse_what_is_no_data(file: Path, head: bytes) -> None:
    if head.startswith(_LFS):
        raise DatasetError(f"{file}:1 is a Git LFS pointer, not the data", "fetch the data itself with `git lfs pull`")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise DatasetError(
            f"{file}:1 is an HTML page, not data", "download the file itself, not the page that shows it"
        )
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DatasetError(f"{file}:1 is UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8")


def _lines(file: Path, stream: BinaryIO) -> Iterator[tuple[int, str]]:
    """(line number, text) of every line that is not blank."""
    for number, raw in enumerate(stream, 1):
        if b"\x00" in raw:
            raise DatasetError(f"{file}:{number} has a NUL byte", "the file was torn or is binary: write it anew")
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            bad = f"{file}:{number} is not UTF-8 (byte {error.start} of the line)"
            raise DatasetError(bad, "convert the file to UTF-8, or drop the line") from error
        if stripped := text.strip():
            yield number, stripped


def _jsonl(file: Path, stream: BinaryIO) -> Iterator[Row]:
    for number, text in _lines(file, stream):
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            problem = f"{file}:{number} is not JSON: {error.msg} at column {error.colno}: {one_line(text, 60)}"
            raise DatasetError(problem, "mend or drop that line") from error
        yield _row(fields, file, number)


def _json_array(file: Path, stream: BinaryIO) -> Iterator[Row]:
    rows = _whole_json(file, stream)
    for number, fields in enumerate(rows, 1):
        yield _row(fields, file, number)


def _json_document(file: Path, stream: BinaryIO) -> Iterator[Row]:
    """A .json file that is no array: columns as {"name": {"0": …}} or {"name": […]}, or lines after all."""
    data = stream.read()
    try:
        document = json.loads(data)
    except ValueError:
        yield from _jsonl(file, io.BytesIO(data))
        return
    columns = list(document.values()) if isinstance(document, dict) else []
    if columns and all(isinstance(column, dict) for column in columns):
        columns = [list(column.values()) for column in columns]
    if columns and all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        for number, values in enumerate(zip(*columns, strict=True), 1):
            yield Row(dict(zip(document, values, strict=True)), file, number)
    else:
        yield _row(document, file, 1)


def _whole_json(file: Path, stream: BinaryIO) -> Any:
    data = stream.read()
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not UTF-8 (byte {error.start})", "convert the file to UTF-8") from error
    except json.JSONDecodeError as error:
        problem = f"{file}:{error.lineno} is not JSON: {error.msg} at column {error.colno}"
        raise DatasetError(problem, "mend the array there; a torn download has to be fetched again") from error


def _row(fields: Any, file: Path, number: int) -> Row:
    if not isinstance(fields, dict):
        kind = type(fields).__name__
        raise DatasetError(f"{file}:{number} is a JSON {kind}, not an object", "every row is an object of named fields")
    return Row(fields, file, number)


def _csv(file: Path, stream: BinaryIO, delimiter: str | None) -> Iterator[Row]:
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        header = text.readline()
        if delimiter is None:
            delimiter = max(",;\t|", key=header.count)
        names = next(csv.reader([header], delimiter=delimiter), [])
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        for values in reader:
            if not values:
                continue
            if len(values) != len(names):
                where = f"{file}:{reader.line_num + 1} has {len(values)} fields, the header has {len(names)}"
                raise DatasetError(where, "quote fields that hold the delimiter")
            yield Row(dict(zip(names, values, strict=True)), file, reader.line_num + 1)
    except csv.Error as error:
        raise DatasetError(f"{file}: {error}", "check the quotes") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not UTF-8 (byte {error.start})", "convert the file to UTF-8") from error


def _parquet(file: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file)
        number = 0
        for batch in table.iter_batches(batch_size=1024):
            for fields in batch.to_pylist():
                number += 1
                yield Row(fields, file, number)
    except pyarrow.ArrowException as error:
        raise DatasetError(f"{file} is not a Parquet file: {error}", "fetch or write it again") from error
