"""The list of entities in files of gmsh's version 4.1: number 0 given to those in no physical group.

meshio's reader takes such files only if all entities with elements are in groups, or none is. This changes the list and
nothing else, so that everything behind it is still read by meshio.
"""

from __future__ import annotations

import re
import struct

__all__ = ["with_every_entity_in_a_group"]


def with_every_entity_in_a_group(content: bytes) -> bytes | None:
    """Content of a file of version 4.1, text or binary, with the physical group 0 for each entity that has none.

    `None` for another version, or a file without a list of entities. Raises `ValueError`, `IndexError` or
    `struct.error` for a list that ends early. Source: the gmsh reference manual, MSH file format.
    """
    header = re.match(rb"\$MeshFormat\s+4\.1\s+([01])\s+([48])\s", content)
    start = re.search(rb"^\$Entities[ \t]*\r?\n", content, re.MULTILINE)
    if header is None or start is None:
        return None
    if header[1] == b"0":
        end = content.index(b"$EndEntities", start.end())
        listed = _text_list(content[start.end() : end].split())
    else:
        listed, end = _binary_list(content, start.end(), "Q" if header[2] == b"8" else "I")
    return content[: start.end()] + listed + content[end:]


def _text_list(words: list[bytes]) -> bytes:
    place = 0

    def taken(count: int) -> list[bytes]:
        nonlocal place
        if place + count > len(words):
            raise ValueError("the list of entities ends early")
        place += count
        return words[place - count : place]

    counts = taken(4)
    lines = [b" ".join(counts)]
    for dim, count in enumerate(counts):
        for _ in range(int(count)):
            entity = taken(4 if dim == 0 else 7)  # number and place, or number and bounding box
            groups = taken(int(taken(1)[0])) or [b"0"]
            entity += [b"%d" % len(groups), *groups]
            if dim > 0:
                bounding = taken(1)
                entity += bounding + taken(int(bounding[0]))
            lines.append(b" ".join(entity))
    return b"\n".join(lines) + b"\n"


def _binary_list(content: bytes, place: int, size: str) -> tuple[bytes, int]:
    """The new list, and where the old one ends."""

    def taken(form: str) -> bytes:
        nonlocal place
        width = struct.calcsize("=" + form)
        if place + width > len(content):
            raise ValueError("the list of entities ends early")
        place += width
        return content[place - width : place]

    def number(part: bytes) -> int:
        return int(struct.unpack("=" + size, part)[0])

    counts = taken(4 * size)
    parts = [counts]
    for dim, count in enumerate(struct.unpack("=4" + size, counts)):
        for _ in range(count):
            parts.append(taken("i3d" if dim == 0 else "i6d"))
            groups = taken(f"{number(taken(size))}i") or struct.pack("=i", 0)
            parts += [struct.pack("=" + size, len(groups) // 4), groups]
            if dim > 0:
                bounding = taken(size)
                parts += [bounding, taken(f"{number(bounding)}i")]
    return b"".join(parts), place
