"""What a file is, is judged by what is in it; what could harm whoever opens it is refused with one sentence."""

import hashlib
import io
import os
import stat
import struct
import tracemalloc
import zipfile
import zlib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.jobs.material import EOCD, GOOD, animation, archive, comic, document, encrypted, overlapping, picture
from tollhouse.jobs import FileLimits, Inspected, inspect, safe_name, sniff
from tollhouse.kit.errors import TooLarge, Unprocessable
from tollhouse.settings import Settings

ACCEPTED = frozenset(Settings().upload_types.split(","))
LIMITS = FileLimits(types=ACCEPTED)
ANYTHING = FileLimits()


def judged(content: bytes, name: str, limits: FileLimits = LIMITS) -> Inspected:
    return inspect(io.BytesIO(content), name, limits)


def refused(content: bytes, name: str, limits: FileLimits = LIMITS) -> str:
    with pytest.raises(Unprocessable) as error:
        judged(content, name, limits)
    assert error.value.detail.startswith(name)
    assert error.value.detail.count("\n") == 0
    return error.value.detail


# Good files


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_of_each_type_is_accepted_for_what_it_is(name: str) -> None:
    content_type, content = GOOD[name]
    assert judged(content, name) == Inspected(name, len(content), content_type, hashlib.sha256(content).hexdigest())


def test_each_accepted_type_has_a_good_file_in_these_tests() -> None:
    assert {content_type for content_type, _ in GOOD.values()} == ACCEPTED


def test_the_file_is_left_at_its_beginning() -> None:
    file = io.BytesIO(comic())
    file.seek(7)
    inspect(file, "book.cbz", LIMITS)
    assert file.tell() == 0


@pytest.mark.parametrize(
    "name", ["page-1.png", "chapter #3", "ü.png", "日本語.png", "a b.png", "...", "x..y", "100%.png", "-rf", "a" * 200]
)
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    assert judged(picture(), name).name == name


# Names

BAD_NAMES = [
    "",
    "  ",
    ".",
    "..",
    "../page.png",
    "/etc/passwd",
    "a/b.png",
    "..\\page.png",
    "C:\\page.png",
    "page.png\0.exe",
    "page\n.png",
    "page\r\nSet-Cookie: a=b",
    "\x1b[31mred.png",
    "page\x7f.png",
    "a" * 201,
    "ü" * 101,
    "\u202egnp.exe",
    "zero\u200bwidth.png",
    "half\ud800.png",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_a_path_or_hides_something_is_refused(name: str) -> None:
    with pytest.raises(Unprocessable) as error:
        judged(picture(), name)
    assert error.value.detail.isascii()
    assert error.value.detail.isprintable()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(codec=None), max_size=220))
def test_a_name_is_either_kept_as_it_is_or_refused(name: str) -> None:
    try:
        kept = safe_name(name)
    except Unprocessable:
        return
    assert kept == name
    assert name not in ("", ".", "..")
    assert not {"/", "\\", "\0"} & set(name)
    assert name.isprintable()
    assert len(name.encode()) <= 200


# Sizes


def test_an_empty_file_is_refused() -> None:
    assert "empty" in refused(b"", "page.png")


def test_a_file_of_the_largest_size_is_accepted_and_one_byte_more_is_not() -> None:
    content = picture()
    assert judged(content, "page.png", FileLimits(file_bytes=len(content))).size == len(content)
    with pytest.raises(TooLarge, match=str(len(content) - 1)):
        judged(content, "page.png", FileLimits(file_bytes=len(content) - 1))


# Types are sniffed and not believed

EXE = b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff\0\0" + bytes(48) + b"PE\0\0" + bytes(200)
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [
        ("page.png", b"<!DOCTYPE html><html><script>alert(1)</script></html>", "text/html"),
        ("page.txt", b"\xef\xbb\xbf  <html>", "text/html"),
        ("page.csv", b"\n\n<ScRiPt>alert(1)</script>", "text/html"),
        ("page.svg", SVG, "text/html"),
        ("page.jpg", SVG, "text/html"),
        ("page.png", EXE, "application/x-msdownload"),
        ("page.png", b"\x7fELF\2\1\1" + bytes(60), "application/x-executable"),
        ("page.png", b"#!" + bytes([0]) + b"/bin/sh", "application/octet-stream"),
        ("page.txt", b"\xff\xfe<\0h\0t\0m\0l\0>\0", "application/octet-stream"),
        ("page.zip", b"Rar!\x1a\x07\x00" + bytes(60), "application/x-rar-compressed"),
        ("page.png", bytes(100), "application/octet-stream"),
    ],
)
def test_a_name_does_not_make_a_file_what_it_says(name: str, content: bytes, shown: str) -> None:
    assert shown in refused(content, name)


def test_a_picture_with_another_pictures_name_is_what_it_is() -> None:
    assert judged(picture("PNG"), "page.gif").content_type == "image/png"
    assert judged(picture("PNG"), "page").content_type == "image/png"


def test_a_character_cut_in_two_at_the_end_of_what_is_looked_at_leaves_a_text_a_text() -> None:
    for before in range(4):
        content = b"a" * (8192 - before) + "日".encode() * 9
        assert judged(content, "notes.txt").content_type == "text/plain"


def test_bytes_that_are_no_text_are_not_called_one() -> None:
    assert sniff(b"abc\xff\xfedef", "notes.txt") == "application/octet-stream"


# Two things at once


def appended() -> bytes:
    return archive({"evil.html": b"<script>alert(1)</script>"})


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, its checksum aside."""
    return struct.pack(">I", len(content)) + kind + content + bytes(4)


def with_long_comment(packed: bytes, length: int) -> bytes:
    at = packed.rindex(EOCD)
    return packed[: at + 20] + struct.pack("<H", length) + b" " * length


def within_head(content: bytes) -> bytes:
    """A picture whose first chunk after the header holds the content."""
    plain = picture()
    return plain[:33] + chunk(b"tEXt", b"Comment\0" + content) + plain[33:]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.png", picture() + appended()),
        ("page.jpg", picture("JPEG") + appended()),
        ("page.gif", animation("GIF") + appended()),
        ("page.webp", picture("WEBP") + appended() + b"trailing"),
        ("paper.pdf", document() + appended()),
        ("page.png", picture() + with_long_comment(appended(), 65_535)),
        ("page.png", picture() + with_long_comment(appended(), 60_000)),
        ("notes.txt", b"just text\n" + appended().replace(b"\0", b"\0")),
        ("page.png", within_head(b"%PDF-1.4 1 0 obj")),
        ("page.gif", b"GIF89a/*\0\0\0\0\0*/=1;<script>alert(1)</script>"),
        ("page.gif", b"GIF89a" + bytes(20) + b"<ScRiPt src=//evil.example>"),
        ("page.png", within_head(b"<svg onload=alert(1)>")),
        ("page.jpg", picture("JPEG", comment=b"<?php system($_GET[0]); ?>")),
        ("sound.mp3", b"ID3\x03\0\0\0\0\0\x0f<html><body>" + bytes(60)),
    ],
)
def test_a_file_that_is_two_things_at_once_is_refused(name: str, content: bytes) -> None:
    refused(content, name)


def test_something_before_an_archive_makes_it_no_archive() -> None:
    refused(b"#!/bin/sh\n\0" + appended(), "book.zip")


# Archives


def test_an_archive_of_entries_in_folders_is_good() -> None:
    assert judged(archive({"a/b/c.txt": b"x", "d": b"y", "..e": b"z"}), "a.zip").content_type == "application/zip"


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused() -> None:
    bomb = archive({"zeros": bytes(20 << 20)})
    assert len(bomb) < 30_000
    assert str(20 << 20) in refused(bomb, "bomb.zip")


LIE = 10


def lying(content: bytes, **said: int) -> bytes:
    """An archive whose directory, and whose entry itself, say something else about it than is true."""
    packed = bytearray(archive({"a.txt": content}))
    for mark, places in ((b"PK\x03\x04", {"crc": 14, "size": 22, "name": 30}), (b"PK\x01\x02", {"crc": 16, "size": 24})):
        at = packed.index(mark)
        for what in said.keys() & places.keys():
            place = at + places[what]
            packed[place : place + 4] = said[what].to_bytes(4, "little")
    return bytes(packed)


@pytest.mark.parametrize(
    "packed",
    [
        lying(bytes(50 << 20), size=LIE),
        lying(bytes(50 << 20), size=LIE, crc=zlib.crc32(bytes(LIE))),
        lying(b"abc", size=2),
        lying(b"abc", size=4),
        lying(b"abc", crc=0),
        lying(b"abc", name=int.from_bytes(b"../b", "little")),
    ],
    ids=["bomb", "bomb with a checksum", "larger", "smaller", "checksum", "name"],
)
def test_an_archive_whose_entry_is_not_what_the_directory_says_is_refused(packed: bytes) -> None:
    assert "'a.txt' is not what it says" in refused(packed, "a.zip")


def test_a_lie_is_found_without_unpacking_all_of_it() -> None:
    bomb = lying(bytes(200 << 20), size=LIE)
    tracemalloc.start()
    try:
        refused(bomb, "bomb.zip")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_is_packed_in_a_rare_way_is_refused(method: int) -> None:
    assert "plain ZIP" in refused(archive({"a.txt": b"abc"}, method), "a.zip")


def test_an_archive_that_was_written_as_a_stream_is_good() -> None:
    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

    written = Stream()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("ü/日本.txt", os.urandom(100_000) + bytes(1 << 20))
        packed.mkdir("empty")
    assert judged(written.getvalue(), "a.zip").content_type == "application/zip"


def test_small_archives_may_unpack_to_a_little_whatever_the_ratio() -> None:
    assert judged(archive({"zeros": bytes(5 << 20)}), "a.zip").size < 30_000


def test_an_archive_may_not_unpack_beyond_the_limit_however_large_it_is() -> None:
    content = os.urandom(1 << 20)
    assert judged(archive({"a": content}), "a.zip", FileLimits(unpacked_bytes=1 << 20))
    refused(archive({"a": content, "b": b"x"}), "a.zip", FileLimits(unpacked_bytes=1 << 20))


def test_an_archive_with_too_many_entries_is_refused() -> None:
    limits = FileLimits(entries=50)
    assert judged(archive({str(at): b"" for at in range(50)}), "a.zip", limits)
    assert "51 entries" in refused(archive({str(at): b"" for at in range(51)}), "a.zip", limits)


def test_an_archive_of_a_million_entries_is_refused_before_they_are_in_memory() -> None:
    bomb = overlapping(b"", 1_000_000)
    tracemalloc.start()
    try:
        refused(bomb, "bomb.zip")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_an_archive_in_the_large_format_is_judged_like_any_other() -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as packed, packed.open("a.txt", "w", force_zip64=True) as entry:
        entry.write(b"x")
    assert judged(large(written.getvalue()), "a.zip").content_type == "application/zip"
    refused(large(overlapping(b"", 1_000_000)), "a.zip")


def large(packed: bytes) -> bytes:
    """The same archive with an end record that sends its reader on to the larger one."""
    at = packed.rindex(EOCD)
    _, _, _, count, _, length, offset, _ = struct.unpack("<4s4H2LH", packed[at:])
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    return packed[:at] + record + locator + struct.pack("<4s4H2LH", EOCD, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)


def test_an_archive_that_names_the_same_bytes_again_and_again_is_refused() -> None:
    assert judged(overlapping(os.urandom(1 << 20), 1), "a.zip")
    refused(overlapping(os.urandom(1 << 20), 2), "a.zip")
    refused(overlapping(os.urandom(1 << 20), 4000), "a.zip")


@pytest.mark.parametrize(
    "entry",
    ["../evil", "a/../../evil", "/etc/passwd", "\\evil", "..\\evil", "a\\..\\evil", "C:\\evil", "C:evil", "..", "a/..", "//host/share"],
)
def test_an_archive_whose_entry_leads_out_of_it_is_refused(entry: str) -> None:
    assert "leads out of it" in refused(archive({"good": b"x", entry: b"y"}), "a.zip")


def test_an_archive_whose_entry_hides_behind_a_nul_is_refused() -> None:
    packed = archive({"good.pngX/../../evil": b"x"}).replace(b"good.pngX", b"good.png\0")
    assert "leads out of it" in refused(packed, "a.zip")


def test_an_archive_whose_entry_is_a_link_is_refused() -> None:
    link = zipfile.ZipInfo("page.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as packed:
        packed.writestr(link, "/etc/passwd")
    assert "leads out of it" in refused(written.getvalue(), "a.zip")


def test_an_archive_with_a_password_is_refused() -> None:
    assert "password" in refused(encrypted(), "a.zip")


def test_an_empty_archive_is_refused() -> None:
    assert "empty" in refused(archive({}), "a.zip")


@pytest.mark.parametrize("kept", [4, 30, 100, -1, -22, -60])
def test_an_archive_that_is_cut_off_is_refused(kept: int) -> None:
    assert "archive is damaged" in refused(comic()[:kept], "book.cbz")


@pytest.mark.parametrize("name", ["book.epub", "letter.docx"])
def test_a_document_that_is_packed_as_an_archive_is_no_second_thing_but_held_to_the_same_limits(name: str) -> None:
    """What a worker made may be of any type."""
    first = {"book.epub": {"mimetype": b"application/epub+zip"}, "letter.docx": {"[Content_Types].xml": b"<x/>", "word/a.xml": b"<x/>"}}[
        name
    ]
    assert judged(archive(first | {"text": b"x"}, zipfile.ZIP_STORED), name, ANYTHING).name == name
    refused(archive(first | {"../text": b"x"}, zipfile.ZIP_STORED), name, ANYTHING)
    refused(archive(first | {"zeros": bytes(20 << 20)}), name, ANYTHING)
    refused(archive(first | {"text": b"x"}, zipfile.ZIP_STORED), name, LIMITS)


# Whatever comes

beginnings = st.sampled_from([content[:40] for _, content in GOOD.values()] + [b"", b"PK\x03\x04", EOCD, b"%PDF-", b"<"])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(beginnings, st.binary(max_size=400), st.sampled_from(list(GOOD)), st.sampled_from([LIMITS, ANYTHING]))
@example(b"", EOCD + b"\xff" * 18, "book.zip", ANYTHING)
@example(b"PK\x03\x04", EOCD + b"\xff" * 18, "book.zip", ANYTHING)
def test_whatever_bytes_come_are_judged_or_refused(head: bytes, rest: bytes, name: str, limits: FileLimits) -> None:
    content = head + rest
    try:
        found = judged(content, name, limits)
    except (Unprocessable, TooLarge):
        return
    assert (found.name, found.size) == (name, len(content))
    assert not limits.types or found.content_type in limits.types


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([comic(1), archive({"a/ü": b"x", "b": b"y" * 50}), encrypted(), overlapping(b"abc", 3)]),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=12),
    st.integers(0, 40),
)
def test_an_archive_damaged_anywhere_is_judged_or_refused(packed: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(packed)
    for at, value in changes:
        content[-1 - at % len(content)] = value
    try:
        judged(bytes(content[: len(content) - cut]), "a.zip")
    except (Unprocessable, TooLarge):
        return
